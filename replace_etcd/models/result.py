"""What a replacement ends with, and what it tells while it runs."""

from datetime import datetime
from enum import StrEnum

from replace_etcd.models import Message
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


class Phase(StrEnum):
    """Where a replacement stands; from `REMOVING` on there is no way back."""

    PREFLIGHT = "preflight"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    WAITING_FOR_NODE = "waiting_for_node"
    PROTECTING = "protecting"
    DRAINING = "draining"
    SNAPSHOTTING = "snapshotting"
    REMOVING = "removing"
    CLEANING = "cleaning"
    ADDING = "adding"
    REJOINING = "rejoining"
    RESTORING = "restoring"
    VERIFYING = "verifying"
    HELD = "held"
    ROLLING_BACK = "rolling_back"
    DONE = "done"


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
    plan: Plan | None = None


class Progress(Message):
    """The answer of the query `progress`."""

    phase: Phase
    outcome: Outcome | None = None
    steps: list[Step] = []
    current: str | None = None
    current_since: datetime | None = None
    waiting_for: str | None = None
    choices: list[str] = []
    deadline: datetime | None = None
    verdicts: list[Check] = []
