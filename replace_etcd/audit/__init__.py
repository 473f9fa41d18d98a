"""The audit: what was asked, approved, done and seen, kept for years, where Temporal keeps it for days.

Rows are events, only ever appended, chained by hash; a replacement is a view of them. What workflows hand over is
in `events` (pure), the database in `store`; docs/audit.md is the way in for people.
"""
