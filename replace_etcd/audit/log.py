"""What the activities need of the audit and of the notifications: Protocols, so that no activity reaches a database."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from replace_etcd.audit.events import AuditEvent
from replace_etcd.audit.views import ReplacementView
from replace_etcd.models.notice import Notice


@dataclass(frozen=True)
class Delivery:
    """Which receivers have taken a notice, and why the others have not."""

    taken: list[str]
    refused: dict[str, str]


class AuditLog(Protocol):
    """Where events are appended."""

    async def append(self, events: Sequence[AuditEvent]) -> int:
        """Append what is not there yet; returns how many were new. An error where the store cannot be used."""

    async def unfinished(self, before: datetime) -> Sequence[ReplacementView]:
        """Runs of which no end is recorded, last heard of before that time."""


class Messenger(Protocol):
    """Where notices go."""

    async def send(self, notice: Notice, *, but: Collection[str]) -> Delivery:
        """Send it to every receiver that is set up, but those."""
