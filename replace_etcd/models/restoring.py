"""What `RestoreInterruptedReplacement` is started with, what it finds, and what it puts back.

One model of a record's fate serves the search, the result and the audit: whoever reads a sweep sees every record,
also those that were rightly left alone, and why.
"""

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from replace_etcd.models import Input, Message
from replace_etcd.models.orders import Done, Fence
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup, Pins
from replace_etcd.models.request import FreeText, Namespace
from replace_etcd.models.result import Outcome, Step

WORKFLOW_TYPE = "RestoreInterruptedReplacement"
ID_PREFIX = "restore-etcd."  # with the user cluster: Temporal keeps a second restoration out


class RestoreRequest(Input):
    """The input of `RestoreInterruptedReplacement`; empty: look at every record, as the Schedule does."""

    user_cluster: Namespace | None = Field(default=None, description="restore this one, instead of a sweep")
    take_over: FreeText | None = Field(
        default=None,
        description="why a record whose run has ended, or cannot be asked about, may be taken over",
    )
    requested_by: FreeText | None = None

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if self.take_over is not None and not (self.take_over.strip() and self.user_cluster):
            raise ValueError("take_over is a reason, and names one user_cluster")
        return self


class Verdict(StrEnum):
    """What a record and Temporal together say of a replacement."""

    INTERRUPTED = "interrupted"  # its chain is closed, and nobody else goes on
    RUNNING = "running"
    SUCCEEDED = "succeeded"  # a newer run of the same id is under way, which takes it over itself
    CONCLUDED = "concluded"  # an outcome is written: the next start goes on from there
    UNKNOWN = "unknown"
    STUCK = "stuck"  # not ours to take, and without progress for too long
    BY_HAND = "by hand"  # a person has taken it over with kubectl
    UNREADABLE = "unreadable"
    LOST = "lost"  # somebody else took it while it was being looked at


class Restored(Message):
    """One record: what was found, and what was done about it; `outcome` is set where it was restored."""

    user_cluster: str
    verdict: Verdict
    replica: str = ""
    workflow_id: str = ""
    first_run_id: str = ""
    run_id: str = ""
    phase: Phase = Phase.PREFLIGHT
    furthest: Phase = Phase.PREFLIGHT
    updated_at: datetime | None = None
    outcome: Outcome | None = None
    restored: list[str] = []
    left: list[str] = []
    steps: list[Step] = []
    reason: str = ""


class RestoreResult(Message):
    """The result: every record that was looked at; none where there is none."""

    records: list[Restored] = []


class Search(Message):
    """The input of the search: one user cluster, or all of them."""

    user_cluster: str | None = None


class RecordsFound(Done):
    """The result of the search."""

    records: list[Restored] = []


class TakeOverOrder(Message):
    """The input of taking a record over: whose it is to be, and from which chain of runs.

    `by_hand` is the word of a person where Temporal cannot say that the chain is closed, or where an outcome is written
    that the next start would go on from.
    """

    user_cluster: str
    fence: Fence
    from_first_run: str
    by_hand: str | None = None


class TakenOver(Done):
    """The result: what is needed to put everything back."""

    pins: Pins
    backup: Backup
    furthest: Phase
    heir_of: list[str]


class ProtectOrder(Message):
    """The input of protecting a replacement that makes no progress; `why` is the alarm."""

    user_cluster: str
    why: str
