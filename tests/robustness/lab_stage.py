"""The full tier's stage: one lab with real etcd, whose one user cluster is broken and replaced again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter

from lab.client import LabClient, LabError
from lab.fixture.names import CONTAINER, DATA_DIRECTORY, NAMESPACE, REPLICAS, node_of
from lab.history import History
from lab.judge import Sighting
from lab.kube_client import KubeClient
from lab.kubeconfig import read_kubeconfig
from lab.nodes.tasks import cancelled
from lab.options import LabOptions
from lab.runner import running_lab
from lab.temporal_server import TemporalServer, running_temporal
from tests.lab.remote_exec import execute
from tests.robustness import user_cluster
from tests.robustness.judge import Listed, Look
from tests.robustness.proxy import Call, Proxy, command_of
from tests.robustness.stage import Patient, start
from tests.robustness.user_cluster import FAILED

POLL = 0.2
WITHIN = 120.0
WRITTEN_WITHIN = 15.0
STEADY = "steady"


class LabPatient:
    """The lab's user cluster, from one failure to the next."""

    namespace = NAMESPACE

    def __init__(self, lab: LabClient, client: KubeClient, proxy: Proxy) -> None:
        self._lab = lab
        self._client = client
        self._history = History(client, REPLICAS)
        self._sent: list[str] = []
        self._listed: set[str] = set()
        self._gone: list[str] = []
        self._cutting: asyncio.Task[None] | None = None
        self._history.start()
        proxy.watchers[:] = [self._see]

    @property
    def sightings(self) -> Sequence[Sighting]:
        return self._history.sightings

    @property
    def removed(self) -> Sequence[str]:
        """Every id that a command named and that is not listed any more, and every one that vanished."""
        return self._gone

    async def look(self) -> Look:
        status = await self._lab.status()
        members = [Listed(member.id, member.name, member.learner) for member in status.members]
        now = {member.id for member in members}
        self._listed |= now
        self._gone = sorted((self._listed | set(self._sent)) - now)
        on_disk = [name for name in REPLICAS if await self._has_member(name)]
        return await user_cluster.look(self._client, NAMESPACE, node_of(FAILED), members, on_disk)

    async def writes(self) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
        """The lab counts what is lost; the keys are given numbers of their own."""
        await self._lab.stop_traffic()
        report = await self._lab.report()
        await self._lab.start_traffic()
        keys = [str(number) for number in range(report.traffic.acknowledged)]
        lost = report.judgement.lost_by_member
        read = {name: frozenset(keys[count:]) for name, count in lost.items()}
        return frozenset(keys), read

    async def takes_writes(self) -> bool:
        """The lab's own writers never pause."""
        before = await self._acknowledged()
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN_WITHIN):
                while await self._acknowledged() <= before:  # noqa: ASYNC110 - the lab is asked
                    await asyncio.sleep(POLL)
                return True
        return False

    async def _acknowledged(self) -> int:
        traffic = (await self._lab.status()).traffic
        return traffic.acknowledged if traffic else 0

    async def keep_from_rejoining(self) -> None:
        """A pod that is re-created has a new link: each one is cut."""

        async def cut() -> None:
            while True:
                with suppress(LabError):  # there is no such pod at this moment
                    await self._lab.set_link(FAILED, up=False)
                await asyncio.sleep(POLL)

        self._cutting = asyncio.create_task(cut())

    async def let_rejoin(self) -> None:
        if self._cutting is not None:
            await cancelled(self._cutting)
            await self._lab.set_link(FAILED, up=True)
        await self._history.stop()

    def _see(self, call: Call) -> None:
        if call.is_exec and command_of(call)[-3:-1] == ["member", "remove"]:
            self._sent.append(command_of(call)[-1])

    async def _has_member(self, replica: str) -> bool:
        """A container that does not run cannot be asked: the failed one's, which the judge does not ask about."""
        command = ("test", "-d", f"{DATA_DIRECTORY}/member")
        try:
            answer = await execute(self._client, NAMESPACE, replica, *command, container=CONTAINER)
        except (OSError, aiohttp.ClientError):
            return replica == FAILED
        return answer.status is not None and answer.exit_code == 0


class LabStage:
    """One lab and one Temporal server; a cell at a time."""

    def __init__(self, lab: LabClient, client: KubeClient, proxy: Proxy, temporal: Client) -> None:
        self.proxy = proxy
        self.temporal = temporal
        self._lab = lab
        self._client = client
        proxy.tenants[node_of(FAILED)] = NAMESPACE

    async def user_cluster(
        self, pod_management: str, *, alarm: bool = False, dead: bool = False
    ) -> LabPatient:
        """What the cell before has left is finished first; then the failed member fails, unless it does still."""
        del pod_management, alarm, dead
        self.proxy.rules.clear()
        async with asyncio.timeout(WITHIN):
            while await self._client.find("configmaps", user_cluster.RECORD, NAMESPACE) is not None:
                await self._finish()
        status = await self._lab.status()
        if all(member.healthy for member in status.members):
            await self._lab.start_traffic()
            await self._lab.destroy(FAILED, "corrupt-wal")
        async with asyncio.timeout(WITHIN):
            await user_cluster.until_counted(self._client, NAMESPACE, healthy=2)
        return LabPatient(self._lab, self._client, self.proxy)

    async def _finish(self) -> None:
        """It may be refused at first: a member that was cut off needs a moment to come back."""
        handle = await start(self, "ReplaceEtcdReplica", "replace-etcd", NAMESPACE, STEADY)
        with suppress(WorkflowFailureError):
            await handle.result()

    def give_back(self, patient: Patient, pod_management: str) -> None:
        """There is but one."""

    async def retire(self, patient: Patient) -> None:
        """There is no other: what it has left is finished before the next cell, or the lab is made anew."""


@asynccontextmanager
async def a_lab_stage(options: LabOptions, directory: Path) -> AsyncIterator[tuple[LabStage, TemporalServer]]:
    """Set it up, without a worker."""
    async with (
        running_temporal(directory) as temporal,
        running_lab(options) as lab,
        KubeClient.from_kubeconfig(lab.kubeconfig) as client,
        Proxy(read_kubeconfig(lab.kubeconfig)) as proxy,
    ):
        connected = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
        yield LabStage(lab, client, proxy, connected), temporal
