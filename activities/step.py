"""What every activity has in common: the tools it works with, its heartbeat, and its times in the result."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from temporalio import activity

from replace_etcd.audit.log import AuditLog, Messenger
from replace_etcd.cluster import AdminCluster
from replace_etcd.models.orders import Done
from replace_etcd.runs import ReplacementRuns
from replace_etcd.settings import Settings

HEARTBEAT_SECONDS = 2.0
P = ParamSpec("P")
R = TypeVar("R", bound=Done)
_last_words: ContextVar[list[str]] = ContextVar("last_words")


@dataclass(frozen=True)
class TemporalIdentity:
    """Which Temporal runs this worker: the same workflow id can exist on another one."""

    cluster_id: str
    namespace: str


@dataclass(frozen=True)
class Toolbox:
    """What `worker.py` hands to every activity."""

    cluster: AdminCluster
    settings: Settings
    temporal: TemporalIdentity
    runs: ReplacementRuns
    audit: AuditLog | None = None
    messenger: Messenger | None = None


def step(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Make a method an activity that heartbeats, and whose result carries its times and attempts."""

    @functools.wraps(function)
    async def attempt(*args: P.args, **kwargs: P.kwargs) -> R:
        async with _heartbeats(function.__name__):
            result = await function(*args, **kwargs)
        info = activity.info()
        times = {
            "started_at": info.scheduled_time,
            "finished_at": datetime.now(UTC),
            "attempts": info.attempt,
        }
        return result.model_copy(update=times)

    return activity.defn(name=function.__name__)(attempt)


@asynccontextmanager
async def _heartbeats(name: str) -> AsyncIterator[None]:
    """Heartbeat in the background: it is how a cancel, or the end of the workflow, reaches an activity."""
    words = [name]
    token = _last_words.set(words)

    async def beat() -> None:
        while True:
            activity.heartbeat(words[0])
            await asyncio.sleep(HEARTBEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        _last_words.reset(token)


def tell(words: str) -> None:
    """Say how far this activity is: shown by `watch` and in the Web UI as the last heartbeat."""
    _last_words.get()[:] = [words]
    activity.heartbeat(words)
