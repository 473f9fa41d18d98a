"""The store as the worker has it: opened when the first event comes, so that a worker starts without its database."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Self

from replace_etcd.audit.events import AuditEvent
from replace_etcd.audit.store import AuditStore
from replace_etcd.audit.views import ReplacementView
from replace_etcd.settings import Settings


class AuditKeeper:
    """Appends in a thread of its own, so that a database that hangs holds nothing up but the audit."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: AuditStore | None = None
        self._opening = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say; None where no audit is to be kept."""
        return cls(settings.audit) if settings.audit else None

    async def append(self, events: Sequence[AuditEvent]) -> int:
        """Append what is not there yet; `AuditUnavailable` where the store cannot be used."""
        return await asyncio.to_thread((await self._opened()).append, events)

    async def unfinished(self, before: datetime) -> Sequence[ReplacementView]:
        """Runs of which no end is recorded, last heard of before that time."""
        return await asyncio.to_thread((await self._opened()).unfinished, before)

    async def _opened(self) -> AuditStore:
        async with self._opening:
            if self._store is None:
                self._store = await asyncio.to_thread(AuditStore.open, self._url)
            return self._store
