"""The steps of the schema, by Alembic; they ship with the package."""
