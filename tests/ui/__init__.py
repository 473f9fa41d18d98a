"""Temporal's Web UI as people see it."""
