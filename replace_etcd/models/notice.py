"""What people are told who are not looking. Pure, since workflows write it; the worker's settings say where it goes."""

from datetime import datetime
from enum import StrEnum

from replace_etcd.models import Message
from replace_etcd.models.result import Outcome

# It is done, or somebody decided so and nothing is worse than before: nobody has to be woken for it.
GOOD_ENDS = (Outcome.REPLACED, Outcome.DECLINED, Outcome.CANCELLED, Outcome.PLANNED)


class Asks(StrEnum):
    """What a replacement may wait for people with."""

    WAITING_FOR_APPROVAL = "waiting_for_approval"
    HELD = "held"


class Notice(Message):
    """One thing to tell: `event` is what it waits with, or the outcome that it has ended with.

    `key` names the notice, so that a receiver knows a repeat.
    """

    key: str
    event: Asks | Outcome
    at: datetime
    workflow_id: str
    run_id: str
    user_cluster: str
    replica: str | None = None
    incident: str | None = None
    requested_by: str | None = None
    reason: str = ""
    choices: list[str] = []
    deadline: datetime | None = None

    @property
    def has_ended_well(self) -> bool:
        """Whether nobody has anything left to do."""
        return self.event in GOOD_ENDS


def sentence(notice: Notice) -> str:
    """The notice in a few words."""
    what = f"{notice.replica or 'the failed replica'} of {notice.user_cluster}"
    words = f"{what}: {notice.event.value.replace('_', ' ')}"
    incident = f" ({notice.incident})" if notice.incident else ""
    reason = f": {notice.reason}" if notice.reason else ""
    choices = f". It can be told: {', '.join(notice.choices)}" if notice.choices else ""
    until = f", until {notice.deadline:%Y-%m-%d %H:%M} UTC" if notice.deadline else ""
    return f"{words}{incident}{reason}{choices}{until}"
