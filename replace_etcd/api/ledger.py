"""The audit store for a server that must not wait: in threads, opened when it is first there.

A store that is down stops neither the API nor a start; each caller decides what it can do without.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from replace_etcd.audit.store import AuditStore, AuditUnavailable

T = TypeVar("T")

TRY_AGAIN_SECONDS = 3.0
NO_AUDIT = "no audit is kept here: name a database in REPLACE_ETCD_AUDIT, the one that the worker writes to"


class Ledger:
    """`AuditStore`, asked from asyncio."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: AuditStore | None = None
        self._opening = threading.Lock()
        self._failed: tuple[float, AuditUnavailable] | None = None

    async def ask(self, question: Callable[[AuditStore], T]) -> T:
        """Whatever the store is asked, in a thread; `AuditUnavailable` where it cannot be used."""
        return await asyncio.to_thread(lambda: question(self._open()))

    async def close(self) -> None:
        """Give the connections back."""
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    def _open(self) -> AuditStore:
        """Those that come while it is known to be down need not wait for the same refusal."""
        with self._opening:
            if self._store is not None:
                return self._store
            if not self._url:
                raise AuditUnavailable(NO_AUDIT)
            if self._failed and time.monotonic() < self._failed[0]:
                raise self._failed[1]
            try:
                self._store = AuditStore.open(self._url)
            except AuditUnavailable as error:
                self._failed = (time.monotonic() + TRY_AGAIN_SECONDS, error)
                raise
            return self._store
