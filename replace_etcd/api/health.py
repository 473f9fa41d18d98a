"""Whether the process lives, and whether a start would lead to anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from temporalio.service import RPCError

from replace_etcd import replacements
from replace_etcd.api.services import Services
from replace_etcd.audit.store import AuditUnavailable
from replace_etcd.models import Message

WITHIN_SECONDS = 3.0
KEEP_SECONDS = 2.0


class Readiness(Message):
    """What was looked at; each says `ok`, or what is wrong."""

    ready: bool
    temporal: str
    worker: str
    audit: str
    tokens: str


class Health:
    """Looks at most once in a while, since probes of several kinds ask."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looking = asyncio.Lock()
        self._seen: tuple[float, Readiness] | None = None

    async def look(self) -> Readiness:
        """As it is now, or was a moment ago."""
        async with self._looking:
            if self._seen is None or time.monotonic() - self._seen[0] > KEEP_SECONDS:
                self._seen = (time.monotonic(), await self._look())
            return self._seen[1]

    async def _look(self) -> Readiness:
        temporal, audit = await asyncio.gather(
            _said(self._temporal(), "Temporal does not answer"),
            _said(self._audit(), "the store does not answer"),
        )
        worker = temporal if temporal in ("ok", "nobody") else "unknown"
        return Readiness(
            ready=(temporal, audit) == ("ok", "ok"),
            temporal="ok" if temporal == "nobody" else temporal,
            worker=replacements.nobody_works(self._services.task_queue) if worker == "nobody" else worker,
            audit=audit,
            tokens=self._services.tokens.problem or "ok",
        )

    async def _temporal(self) -> str:
        there = await replacements.has_worker(self._services.client, self._services.task_queue)
        return "ok" if there else "nobody"

    async def _audit(self) -> str:
        await self._services.audit.ask(lambda store: store.recall("readyz"))
        return "ok"


async def _said(question: Awaitable[str], late: str) -> str:
    """The answer; what is wrong in full goes to the log and the routes, since anybody may ask for this."""
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            return await question
    except (RPCError, AuditUnavailable, TimeoutError):
        return late
