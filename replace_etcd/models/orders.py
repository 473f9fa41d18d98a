"""What the workflow hands to an activity, and what an activity hands back."""

from datetime import UTC, datetime

from replace_etcd.audit.events import AuditEvent
from replace_etcd.models import Message
from replace_etcd.models.notice import Notice
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup, Member, Pins, Plan
from replace_etcd.models.result import Outcome, Snapshot

LONG_AGO = datetime.fromtimestamp(0, UTC)


class Fence(Message):
    """Which run gives an order, and the order's number: a late attempt of an earlier one must not act.

    `generation` grows with every order of a run; `first_run_id` outlives a reset of the workflow. `heir_of` are
    the first runs of those whose record this run has taken over: what they left is this run's. `furthest` is how far
    the run has come where its member is removed: a record that is gone, and written again in a hold, says it too.
    `every_way_back`: whether all that may have been begun is put back, and not only what this run knows of.
    """

    workflow_id: str
    first_run_id: str
    run_id: str
    generation: int
    phase: Phase
    furthest: Phase = Phase.PREFLIGHT
    heir_of: list[str] = []
    every_way_back: bool = True

    @property
    def goes_on(self) -> bool:
        """Whether the run goes on with what another one has begun: it was reset, or has taken a record over."""
        return self.run_id != self.first_run_id or bool(self.heir_of)


class Order(Message):
    """The input of every step after the preflight."""

    pins: Pins
    fence: Fence


class PdbOrder(Order):
    """The input of the steps that need the backup of the PodDisruptionBudget."""

    backup: Backup


class EvictionOrder(Order):
    """The input of the failed pod's eviction; until when the step right before has seen the member fail, if it has."""

    seen_to_fail_at: datetime | None = None


class UncordonOrder(Order):
    """The input of the uncordon; `keeps_it` where no other replacement may have the node yet."""

    keeps_it: bool = False


class SnapshotOrder(Order):
    """The input of the snapshot; `required` where one that cannot be kept stops the run."""

    utility_uid: str
    required: bool = False


class DrainOrder(Order):
    """The input of the drain."""

    delete_emptydir_data: bool
    force: bool
    skip_uids: list[str]


class UtilityPodOrder(Order):
    """The input of the steps that use the utility Pod."""

    utility_uid: str
    member_inode: str = ""


class NewMemberOrder(Order):
    """The input of the steps that wait for the new member, `patience_seconds` without progress at most."""

    new_member_id: str
    patience_seconds: float = 1800.0


class NodeDownOrder(Order):
    """The input of the deletion of a pod whose node somebody has confirmed to be off."""

    by: str
    reason: str


class HoldOrder(Order):
    """The input of writing down why a replacement holds."""

    reason: str


class RunQuestion(Message):
    """Which run of which workflow."""

    workflow_id: str
    run_id: str


class Done(Message):
    """The result of every step: when, in how many attempts, and what was seen."""

    started_at: datetime = LONG_AGO
    finished_at: datetime = LONG_AGO
    attempts: int = 1
    note: str = ""


class Recalled(Done):
    """How far the run had come that this one is a reset of, with which pins, and whether it has a way back."""

    pins: Pins
    way_back: bool
    furthest: Phase
    is_removed: bool = False


class BackedUp(Done):
    """The result of backing up the PodDisruptionBudget."""

    backup: Backup


class UtilityPodReady(Done):
    """The utility Pod is there: its uid, and the inode of `member/` that it saw."""

    uid: str
    member_inode: str = ""


class MembersSeen(Done):
    """A result that carries the member list."""

    members: list[Member]


class MemberRemoved(MembersSeen):
    """The member is gone; an alarm that it raised may still stand."""

    alarm_stands: bool = False


class MemberAdded(MembersSeen):
    """The id that etcd gave the new member."""

    member_id: str


class RemovalSettled(Done):
    """Whether a removal that failed may have been sent, and whether all survivors say that it has taken effect."""

    may_be_sent: bool
    is_removed: bool = False


class SnapshotTaken(Done):
    """The snapshot, or None where the step was skipped (the note says why)."""

    snapshot: Snapshot | None = None


class NodeTaken(Done):
    """Whether the node had to be waited for: then the world may have moved."""

    waited: bool = False


class Left(Done):
    """The result of steps that may leave something on purpose."""

    left: list[str] = []


class ClosingOrder(Order):
    """The input of closing the record of a replacement that was not finished."""

    outcome: Outcome
    reason: str


class Preflighted(Done):
    """The result of the preflight."""

    plan: Plan


class AuditOrder(Message):
    """The input of appending to the audit."""

    events: list[AuditEvent]


class NoticeOrder(Message):
    """The input of telling people."""

    notice: Notice


class Undelivered(Message):
    """The input of `DeliverAudit`: what a run that has ended could not deliver itself."""

    events: list[AuditEvent] = []
    notices: list[Notice] = []
