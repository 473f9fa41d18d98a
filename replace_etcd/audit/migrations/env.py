"""Alembic's way in: it works on the connection, and in the transaction, that `schema.migrate` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
