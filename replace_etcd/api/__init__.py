"""The HTTP API for incident tooling: start, watch, answer and audit replacements, and take alerts as reasons to look.

It is a client of Temporal and of the audit store, as the command line is; it never touches Kubernetes. What is needed
to run it stands in the extra `api`; docs/api.md is the way in for people.
"""
