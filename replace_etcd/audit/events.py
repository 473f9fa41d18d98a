"""What an audit is made of: events of one run, each told once. Pure, since workflows make them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from replace_etcd.models import Message
from replace_etcd.models.result import Outcome


class EventKind(StrEnum):
    """What can happen to a replacement."""

    REQUESTED = "requested"  # by whom, as far as a token proves it: the API's word, before any worker's
    ALERT = "alert"  # what an alert said later of a run that it has started
    STARTED = "started"
    PLANNED = "planned"
    ASKED = "asked"  # it waits for people: an approval, or a word on a hold
    APPROVED = "approved"
    DECLINED = "declined"
    RESOLVED = "resolved"
    NODE_CONFIRMED_DOWN = "node_confirmed_down"
    ABORTED = "aborted"
    STOP_REQUESTED = "stop_requested"
    REJECTED = "rejected"  # an answer that the run did not take: only the API knows of it
    STEP = "step"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # ended from outside: what was found and put back


# What people can answer while it waits for them, or say at any time.
ANSWERS = (
    EventKind.APPROVED,
    EventKind.DECLINED,
    EventKind.RESOLVED,
    EventKind.NODE_CONFIRMED_DOWN,
    EventKind.ABORTED,
    EventKind.STOP_REQUESTED,
)


class AuditEvent(Message):
    """One event of one run; `key` is unique within the run, so that a repeat is known as one.

    `user_cluster`, `replica`, `incident` and `outcome` are set where the event knows them: lists are filtered by them.
    """

    run_id: str
    workflow_id: str
    key: str
    kind: EventKind
    at: datetime
    user_cluster: str | None = None
    replica: str | None = None
    incident: str | None = None
    outcome: Outcome | None = None
    data: dict[str, Any] = {}
