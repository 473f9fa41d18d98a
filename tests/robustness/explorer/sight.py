"""What can be seen of a run while it goes on, and at its end: nothing here judges, and nothing knows the faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from lab.client import LabClient, LabError
from lab.fixture.names import DISRUPTION_BUDGET, NAMESPACE, REPLICAS, STATEFUL_SET
from lab.judge import Sighting
from lab.kube_client import ApiError, Json, KubeClient
from lab.models import Evidence, Member
from replace_etcd.models.record import Record
from tests.robustness.judge import Listed, Look, Pod
from tests.robustness.user_cluster import OWN, RECORD, UTILITY, flag_in, is_ready, reason_in

PERIOD = 0.25
RETRY = 0.1
AWAY = (ApiError, LabError, aiohttp.ClientError, TimeoutError, OSError)


@dataclass(frozen=True)
class Glance:
    """The template and the budget at one moment, and the member list as it was right after it."""

    at: float
    flag: str
    strategy: Json
    has_budget: bool
    members: tuple[Listed, ...]
    """Empty where no quorum answered."""


@dataclass(frozen=True)
class Entry:
    """One version of the record: `until` its attempt may send changes; `made` when it was written."""

    uid: str
    chain: str
    attempt: str
    until: float
    made: float


@dataclass
class Sight:
    """Everything that was seen."""

    glances: list[Glance] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


class Watcher:
    """Looks again and again, and follows the record; what cannot be seen for a while is seen again later."""

    def __init__(self, lab: LabClient, kube: KubeClient, clock: Callable[[], float]) -> None:
        self._lab = lab
        self._kube = kube
        self._clock = clock
        self.sight = Sight()

    async def watch(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._glance_on())
            group.create_task(self._follow_record())

    async def _glance_on(self) -> None:
        while True:
            with suppress(*AWAY):
                self.sight.glances.append(await self._glance())
            await asyncio.sleep(PERIOD)

    async def _glance(self) -> Glance:
        kube, at = self._kube, self._clock()
        stateful_set = await kube.get("statefulsets", STATEFUL_SET, NAMESPACE)
        budget = await kube.find("poddisruptionbudgets", DISRUPTION_BUDGET, NAMESPACE)
        members = await self._lab.members()
        spec = stateful_set["spec"]
        flag = flag_in(spec["template"]["spec"])
        return Glance(at, flag, spec["updateStrategy"], budget is not None, listed(members))

    async def _follow_record(self) -> None:
        while True:
            with suppress(*AWAY):
                await self._follow_once(self._kube)
            await asyncio.sleep(RETRY)

    async def _follow_once(self, kube: KubeClient) -> None:
        found = await kube.request("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps")
        for item in found["items"]:
            self._take("ADDED", item)
        version = found["metadata"]["resourceVersion"]
        async for kind, item in kube.watch("configmaps", NAMESPACE, resourceVersion=version):
            self._take(kind, item)

    def _take(self, kind: str, item: Json) -> None:
        if item["metadata"]["name"] != RECORD or kind == "DELETED":
            return
        record = Record.from_data(item["data"])
        entry = Entry(
            uid=item["metadata"]["uid"],
            chain=record.first_run_id,
            attempt=record.attempt,
            until=record.until.timestamp(),
            made=record.updated_at.timestamp(),
        )
        if entry not in self.sight.entries[-1:]:
            self.sight.entries.append(entry)


def listed(members: list[Member]) -> tuple[Listed, ...]:
    """Members as the judge reads them."""
    return tuple(Listed(member.id, member.name, member.learner) for member in members)


async def look(kube: KubeClient, evidence: Evidence) -> Look:
    """Everything that a replacement touches, as the API shows it now."""
    stateful_set, budget, pods, nodes, record = await asyncio.gather(
        kube.get("statefulsets", STATEFUL_SET, NAMESPACE),
        kube.find("poddisruptionbudgets", DISRUPTION_BUDGET, NAMESPACE),
        kube.list("pods", NAMESPACE),
        kube.list("nodes"),
        kube.find("configmaps", RECORD, NAMESPACE),
    )
    objects = [("StatefulSet", stateful_set), ("budget", budget or {"metadata": {}})]
    objects += [(f"node {node['metadata']['name']}", node) for node in nodes]
    return Look(
        budget=budget["spec"] if budget else None,
        flag=flag_in(stateful_set["spec"]["template"]["spec"]),
        strategy=stateful_set["spec"]["updateStrategy"],
        template=stateful_set["spec"]["template"],
        pods={
            pod["metadata"]["name"]: Pod(flag_in(pod["spec"]), is_ready(pod))
            for pod in pods
            if pod["metadata"]["name"] in REPLICAS
        },
        unschedulable=any(node["spec"].get("unschedulable") for node in nodes),
        members=listed(evidence.members),
        on_disk=frozenset(evidence.on_disk),
        marks=tuple(
            f"{what}: {key}"
            for what, found in objects
            for key in found["metadata"].get("annotations") or {}
            if key.startswith(OWN)
        ),
        utility_pods=tuple(
            pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith(UTILITY)
        ),
        recorded=reason_in(record),
    )


def sightings(evidence: Evidence) -> tuple[Sighting, ...]:
    """The lives of pods, as the judge reads them."""
    return tuple(Sighting(**seen.model_dump()) for seen in evidence.sightings)
