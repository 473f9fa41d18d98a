"""Who may do what in PostgreSQL: roles append and read, and none of them can change or remove what was appended."""

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from replace_etcd.audit.schema import AuditUnavailable

APPENDED = ("audit_events", "audit_heads")
EVERYTHING = (*APPENDED, "idempotency_keys", "alembic_version")


def grant(engine: Engine, *, worker: str | None, api: str | None, reader: str | None) -> list[str]:
    """Grant by role; what a role had before on these tables is taken away first."""
    wanted: dict[str | None, dict[str, tuple[str, ...]]] = {
        worker: {"SELECT": ("alembic_version",), "SELECT, INSERT": APPENDED},
        api: {
            "SELECT": ("alembic_version",),
            "SELECT, INSERT": APPENDED,
            "SELECT, INSERT, UPDATE, DELETE": ("idempotency_keys",),
        },
        reader: {"SELECT": (*APPENDED, "alembic_version")},
    }
    named = {role: rights for role, rights in wanted.items() if role}
    if named and engine.dialect.name != "postgresql":
        raise AuditUnavailable(
            "roles are PostgreSQL's: SQLite refuses changes of what was appended by itself"
        )
    quoted = engine.dialect.identifier_preparer.quote_identifier
    try:
        with engine.begin() as connection:
            for role, rights in named.items():
                connection.execute(text(f"REVOKE ALL ON {', '.join(EVERYTHING)} FROM {quoted(role)}"))
                for verbs, tables in rights.items():
                    connection.execute(text(f"GRANT {verbs} ON {', '.join(tables)} TO {quoted(role)}"))
    except DBAPIError as error:
        raise AuditUnavailable(f"the grants were refused: {str(error.orig).splitlines()[0]}") from None
    return [f"{role} may append and read" if role != reader else f"{role} may read" for role in named]
