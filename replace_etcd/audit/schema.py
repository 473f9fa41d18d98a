"""The tables of the audit, and the way to the database: SQLite, or PostgreSQL.

Times and bodies are text, so that both databases keep them to the letter and the hashes hold in both.
"""

from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

WAIT_SECONDS = 5
# Any number will do, as long as nobody else in this database takes it: "retc" in ASCII.
APPENDING = 0x72657463
POSITION = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()
events = Table(
    "audit_events",
    metadata,
    Column("id", POSITION, primary_key=True, autoincrement=False),
    Column("run_id", String(64), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("key", String(200), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("at", String(40), nullable=False),
    Column("workflow_id", String(1000), nullable=False),
    Column("user_cluster", String(63), index=True),
    Column("replica", String(63)),
    Column("incident", String(1000), index=True),
    Column("outcome", String(40)),
    Column("body", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("run_id", "key", name="audit_events_once"),
    UniqueConstraint("run_id", "number", name="audit_events_in_order"),
)
heads = Table(
    "audit_heads",
    metadata,
    Column("id", POSITION, primary_key=True, autoincrement=False),
    Column("run_id", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("event_hash", String(64), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("token_name", String(255), nullable=False),
    Column("request_digest", String(64), nullable=False),
    Column("workflow_id", String(1000), nullable=False),
    Column("run_id", String(64)),
    Column("claimed_at", String(40), nullable=False),
)


class AuditUnavailable(Exception):
    """The store cannot be used now; the text says why, and the way out."""


def engine_of(url: str) -> Engine:
    """An engine for the database that `REPLACE_ETCD_AUDIT` names; nothing is connected yet."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise AuditUnavailable(
            "REPLACE_ETCD_AUDIT is no database URL: write sqlite:////path/audit.db or postgresql://user@host/name"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend in ("postgresql", "postgres"):
        return _postgresql(parsed)
    raise AuditUnavailable(f"REPLACE_ETCD_AUDIT names {backend}: only sqlite and postgresql are known")


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise AuditUnavailable(
                f"the folder of the audit cannot be made: {error}; name another place in REPLACE_ETCD_AUDIT"
            ) from None
    engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS})

    # The driver's own idea of transactions leaves reads and DDL outside of them (SQLAlchemy, dialects/sqlite).
    @event.listens_for(engine, "connect")
    def _leave_transactions_to_us(connection: object, _: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    options = f"-c statement_timeout={2 * WAIT_SECONDS}s -c lock_timeout={WAIT_SECONDS}s"
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": WAIT_SECONDS, "options": options},
        pool_pre_ping=True,
        pool_size=4,
    )


def one_at_a_time(connection: Connection) -> None:
    """Until this transaction ends no other one appends; SQLite's `BEGIN IMMEDIATE` says so already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": APPENDING})


def at_one_moment(connection: Connection) -> None:
    """Everything that this transaction reads is of one moment, whatever is appended meanwhile; SQLite's is anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def migrate(engine: Engine) -> None:
    """Bring the schema up to this release; nothing happens where it is there."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        one_at_a_time(connection)
        configuration = _alembic()
        found = MigrationContext.configure(connection).get_current_revision()
        wanted = ScriptDirectory.from_config(configuration)
        if found == wanted.get_current_head():
            return
        if found is not None and found not in {script.revision for script in wanted.walk_revisions()}:
            raise AuditUnavailable(
                f"the audit's schema is of a later release ({found}): update replace-etcd, or name another store"
            )
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")


def _alembic() -> Config:
    configuration = Config()
    folder = resources.files("replace_etcd.audit").joinpath("migrations")
    configuration.set_main_option("script_location", str(folder).replace("%", "%%"))
    return configuration
