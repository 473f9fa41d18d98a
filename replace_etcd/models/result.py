"""What a replacement ends with, and what it tells while it runs."""

from datetime import datetime
from enum import StrEnum

from replace_etcd.models import Message
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Check, Member, Plan


class Outcome(StrEnum):
    """How a replacement ended (docs/contract.md, Outcomes)."""

    PLANNED = "planned"
    REPLACED = "replaced"
    REFUSED = "refused"
    DECLINED = "declined"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    LEFT_INCOMPLETE = "left_incomplete"
    INTERRUPTED = "interrupted"


class Snapshot(Message):
    """Where the snapshot of a survivor lies, and what was checked of it; never its bytes."""

    host: str
    path: str
    size: int
    sha256: str
    revision: int
    total_keys: int = 0


class Step(Message):
    """One step that was carried out, for the audit."""

    name: str
    summary: str = ""
    started_at: datetime
    finished_at: datetime
    attempts: int
    note: str = ""
    error: str = ""


class ReplacementResult(Message):
    """The result of `ReplaceEtcdReplica`; every error of it carries the same model as its one detail."""

    outcome: Outcome
    user_cluster: str
    replica: str | None = None
    old_member_id: str | None = None
    new_member_id: str | None = None
    reason: str = ""
    restored: list[str] = []
    left: list[str] = []
    cancel_requested: bool = False
    approved_by: str | None = None
    steps: list[Step] = []
    members: list[Member] = []
    snapshot: Snapshot | None = None
    resumed_from: Phase | None = None
    plan: Plan | None = None


class Progress(Message):
    """The answer of the query `progress`; `reason` says why it waits, or why it ended so."""

    phase: Phase
    outcome: Outcome | None = None
    steps: list[Step] = []
    current: str | None = None
    current_since: datetime | None = None
    waiting_for: str | None = None
    choices: list[str] = []
    deadline: datetime | None = None
    reason: str = ""
    verdicts: list[Check] = []
