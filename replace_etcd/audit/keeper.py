"""The store for a process that must not wait: in threads, opened when it is first asked, so that it may come later.

A store that is down stops neither a replacement nor the API; each caller decides what it can do without.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Self, TypeVar

from replace_etcd.audit.events import AuditEvent
from replace_etcd.audit.store import AuditStore, AuditUnavailable
from replace_etcd.audit.views import ReplacementView
from replace_etcd.settings import Settings

T = TypeVar("T")

TRY_AGAIN_SECONDS = 3.0
NO_AUDIT = "no audit is kept here: name a database in REPLACE_ETCD_AUDIT, the one that the worker writes to"


class AuditKeeper:
    """`AuditStore`, asked from asyncio: a database that hangs holds nothing up but the audit."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: AuditStore | None = None
        self._opening = asyncio.Lock()
        self._failed: tuple[float, AuditUnavailable] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say; None where no audit is to be kept."""
        return cls(settings.audit) if settings.audit else None

    async def ask(self, question: Callable[[AuditStore], T]) -> T:
        """Whatever the store is asked, in a thread; `AuditUnavailable` where it cannot be used."""
        return await asyncio.to_thread(question, await self._opened())

    async def append(self, events: Sequence[AuditEvent]) -> int:
        """Append what is not there yet."""
        return await self.ask(lambda store: store.append(events))

    async def unfinished(self, before: datetime) -> Sequence[ReplacementView]:
        """Runs of which no end is recorded, last heard of before that time."""
        return await self.ask(lambda store: store.unfinished(before))

    async def close(self) -> None:
        """Give the connections back."""
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    async def _opened(self) -> AuditStore:
        """One thread opens it, however many wait for that."""
        async with self._opening:
            if self._store is None:
                self._store = await asyncio.to_thread(self._open)
            return self._store

    def _open(self) -> AuditStore:
        """Those that come while it is known to be down need not wait for the same refusal."""
        if not self._url:
            raise AuditUnavailable(NO_AUDIT)
        if self._failed and time.monotonic() < self._failed[0]:
            raise self._failed[1]
        try:
            return AuditStore.open(self._url)
        except AuditUnavailable as error:
            self._failed = (time.monotonic() + TRY_AGAIN_SECONDS, error)
            raise
