"""Events, their heads, and the API's idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

POSITION = sa.BigInteger().with_variant(sa.Integer, "sqlite")
APPEND_ONLY = ("audit_events", "audit_heads")


def upgrade() -> None:
    """Make the tables; SQLite, which has no grants, refuses changes by triggers."""
    op.create_table(
        "audit_events",
        sa.Column("id", POSITION, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.String(64), nullable=False, index=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("workflow_id", sa.String(1000), nullable=False),
        sa.Column("user_cluster", sa.String(63), index=True),
        sa.Column("replica", sa.String(63)),
        sa.Column("incident", sa.String(1000), index=True),
        sa.Column("outcome", sa.String(40)),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.UniqueConstraint("run_id", "key", name="audit_events_once"),
        sa.UniqueConstraint("run_id", "number", name="audit_events_in_order"),
    )
    op.create_table(
        "audit_heads",
        sa.Column("id", POSITION, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("event_hash", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("token_name", sa.String(255), nullable=False),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("workflow_id", sa.String(1000), nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("claimed_at", sa.String(40), nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is only ever appended to'); END"
                )
