"""What the workflow hands to an activity, and what an activity hands back."""

from datetime import UTC, datetime
from typing import Any

from replace_etcd.models import Message
from replace_etcd.models.plan import Member, Pins, Plan
from replace_etcd.models.result import Outcome, Phase

LONG_AGO = datetime.fromtimestamp(0, UTC)


class Fence(Message):
    """Which run gives an order, and the order's number: a late attempt of an earlier one must not act.

    `generation` grows with every order of a run; `first_run_id` outlives a reset of the workflow.
    """

    workflow_id: str
    first_run_id: str
    run_id: str
    generation: int
    phase: Phase


class Order(Message):
    """The input of every step after the preflight."""

    pins: Pins
    fence: Fence


class Backup(Message):
    """A PodDisruptionBudget without the fields that a server sets; None where there was none."""

    manifest: dict[str, Any] | None = None


class PdbOrder(Order):
    """The input of the steps that need the backup of the PodDisruptionBudget."""

    backup: Backup


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
    """The input of the steps that wait for the new member."""

    new_member_id: str


class Done(Message):
    """The result of every step: when, in how many attempts, and what was seen."""

    started_at: datetime = LONG_AGO
    finished_at: datetime = LONG_AGO
    attempts: int = 1
    note: str = ""


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
    """Whether a removal that failed may have been sent."""

    may_be_sent: bool


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
