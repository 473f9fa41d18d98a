"""Watches a lab from outside while a way is walked: pods, the budget, the members, each with the time of the clock.

It asks the API server under a name of its own, which is not counted, and etcd by the lab's control socket.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from lab.client import LabClient, LabError
from lab.fixture.names import DISRUPTION_BUDGET, NAMESPACE
from lab.kube_client import Json, KubeClient
from lab.models import Member
from lab.nodes.tasks import cancelled
from lab.observe import is_ready

LOOK_EVERY = 0.1
ALL_NAMESPACES = ""


@dataclass
class Life:
    """One pod's life as the API shows it; None: not yet, or not while anybody looked."""

    name: str
    namespace: str
    node: str = ""
    created: float = 0.0
    scheduled: float | None = None
    ready: float | None = None
    ending: float | None = None
    gone: float | None = None


@dataclass
class Seen:
    """All that was seen."""

    lives: dict[str, Life] = field(default_factory=dict)
    budget: list[tuple[float, bool]] = field(default_factory=list)
    members: list[tuple[float, list[Member]]] = field(default_factory=list)

    def lives_of(self, name: str) -> list[Life]:
        """Every pod of this name, in the order in which they came."""
        return [life for life in self.lives.values() if life.name == name and life.namespace == NAMESPACE]


class Witness:
    """Sees while the block runs."""

    def __init__(self, lab: LabClient) -> None:
        self.seen = Seen()
        self._lab = lab
        self._client = KubeClient.from_kubeconfig(lab.kubeconfig, timeout=600)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        follow = (("pods", ALL_NAMESPACES, self._pod), ("poddisruptionbudgets", NAMESPACE, self._budget))
        self._tasks = [asyncio.create_task(self._client.follow(*what)) for what in follow]
        self._tasks.append(asyncio.create_task(self._list_members()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancelled(*self._tasks)
        await self._client.close()

    def _pod(self, kind: str, pod: Json) -> None:
        now, metadata = time.time(), pod["metadata"]
        new = Life(metadata["name"], metadata["namespace"], created=now)
        life = self.seen.lives.setdefault(metadata["uid"], new)
        life.node = life.node or pod["spec"].get("nodeName", "")
        if life.node and life.scheduled is None:
            life.scheduled = now
        if is_ready(pod) and life.ready is None:
            life.ready = now
        if metadata.get("deletionTimestamp") and life.ending is None:
            life.ending = now
        if kind == "DELETED":
            life.ending, life.gone = life.ending or now, now

    def _budget(self, kind: str, budget: Json) -> None:
        if budget["metadata"]["name"] == DISRUPTION_BUDGET:
            present = kind != "DELETED"
            if not self.seen.budget or self.seen.budget[-1][1] != present:
                self.seen.budget.append((time.time(), present))

    async def _list_members(self) -> None:
        """The list as a quorum tells it, each time that it differs from the last one."""
        while True:
            with suppress(LabError):
                found = await self._lab.members()
                known = self.seen.members
                if found and (not known or known[-1][1] != found):
                    known.append((time.time(), found))
            await asyncio.sleep(LOOK_EVERY)
