"""What controllers have in common: a queue of keys without duplicates, worked off one at a time.

A failure is retried. A key is looked at again after the seconds that its last look returned, for what time
alone brings about.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from typing import Any

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.errors import StatusError
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]
log = logging.getLogger(__name__)

RETRY_AFTER = 0.2


class Controller(ABC):
    """One control loop; subclasses say which changes concern which keys, and what to do about a key."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.store
        self._pending: dict[Hashable, None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}

    @abstractmethod
    def keys(self, change: Change) -> Iterable[Hashable]:
        """Return the keys to look at because of a change."""

    @abstractmethod
    def sync(self, key: Any) -> float | None:
        """Look at a key and do what is needed; return after how many seconds to look again, if at all."""

    def enqueue(self, key: Hashable) -> None:
        """Look at a key soon."""
        self._pending[key] = None
        self._wake.set()

    def enqueue_after(self, key: Hashable, seconds: float) -> None:
        """Look at a key later; an earlier appointment is kept in place of a later one."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: Hashable) -> None:
        self._timers.pop(key, None)
        self.enqueue(key)

    def _notice(self, change: Change) -> None:
        for key in self.keys(change):
            self.enqueue(key)

    async def run(self) -> None:
        """Work until cancelled."""
        unsubscribe = self.store.subscribe(self._notice)
        for resource in self.cluster.catalogue:
            for obj in self.store.list(resource):
                self._notice(Change(self.store.revision, "ADDED", resource, obj, None))
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._pending:
                    key = next(iter(self._pending))
                    del self._pending[key]
                    self._attempt(key)
                    await asyncio.sleep(0)
        finally:
            unsubscribe()
            for timer in self._timers.values():
                timer.cancel()

    def _attempt(self, key: Hashable) -> None:
        try:
            again = self.sync(key)
        except StatusError as error:
            log.info("%s: %s: %s", type(self).__name__, key, error)
            again = RETRY_AFTER
        except Exception:
            log.exception("%s: %s", type(self).__name__, key)
            again = RETRY_AFTER
        if again is not None:
            self.enqueue_after(key, again)
