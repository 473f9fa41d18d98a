"""Everything that a cell of the quick tier needs, set up once: API server, nodes, proxy, Temporal, workers.

User clusters are made up in it by the dozen; each replacement has one of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from lab.control_plane.simulated import SimulatedControlPlane
from lab.fixture.names import REPLICAS
from lab.judge import Sighting
from lab.kube_client import KubeClient
from lab.kubeconfig import read_kubeconfig
from lab.pki import AdminPki, EtcdPki
from lab.processes import Component
from lab.temporal_server import TemporalServer, running_temporal
from tests.robustness import user_cluster
from tests.robustness.judge import Look
from tests.robustness.nodes import C, Cluster, Disks, Nodes, all_ready
from tests.robustness.proxy import Call, Proxy
from tests.robustness.stage import Patient
from tests.robustness.user_cluster import FAILED

WITHIN = 180.0
MADE_AT_ONCE = 4
POLL = 0.05
R = TypeVar("R", bound="Room[Any]")


class RoomPatient:
    """A user cluster of the room."""

    def __init__(self, client: KubeClient, cluster: Cluster, *, dead: bool) -> None:
        self.namespace = cluster.namespace
        self._client = client
        self._cluster = cluster
        other = user_cluster.other_node_of(cluster.namespace)
        self._node = other if dead else user_cluster.node_of(cluster.namespace, FAILED)
        self._removals = len(cluster.removed)
        self._sightings = len(cluster.sightings)
        self._known = [running.seen for running in cluster.pods.values() if running.name in REPLICAS]

    @property
    def removed(self) -> Sequence[str]:
        return self._cluster.removed[self._removals :]

    @property
    def sightings(self) -> Sequence[Sighting]:
        return [*self._known, *self._cluster.sightings[self._sightings :]]

    async def look(self) -> Look:
        members = await self._cluster.members()
        return await user_cluster.look(
            self._client, self.namespace, self._node, members, list(self._cluster.disks)
        )

    async def writes(self) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
        return frozenset(self._cluster.acknowledged), await self._cluster.read()

    async def takes_writes(self) -> bool:
        return await self._cluster.takes_writes()

    async def keep_from_rejoining(self) -> None:
        self._cluster.never_rejoins = True

    async def let_rejoin(self) -> None:
        self._cluster.never_rejoins = False


class Room(Generic[C]):
    """The running parts, and user clusters in them."""

    def __init__(
        self,
        client: KubeClient,
        nodes: Nodes[C],
        proxy: Proxy,
        temporal: Client,
        certificates: dict[str, bytes],
    ) -> None:
        self.client = client
        self.nodes = nodes
        self.proxy = proxy
        self.temporal = temporal
        self._certificates = certificates
        self._numbers = itertools.count()
        proxy.watchers.append(self._somebody_writes)

    async def make(self, pod_management: str) -> C:
        """A whole user cluster."""
        namespace = f"uc-{next(self._numbers):03d}"
        cluster = self.nodes.add(namespace)
        await user_cluster.create(self.client, namespace, self._certificates, pod_management)
        await _until(lambda: all_ready(cluster))
        await cluster.until_whole()
        await user_cluster.until_counted(self.client, namespace, healthy=3)
        return cluster

    async def fail(self, cluster: C) -> None:
        """Its second member dies, and its disk with it."""
        await self.nodes.destroy(cluster.namespace)
        await user_cluster.until_counted(self.client, cluster.namespace, healthy=2)

    def _somebody_writes(self, call: Call) -> None:
        """The traffic: a key with each request of the worker that passes."""
        if call.namespace in self.nodes.clusters:
            self.nodes.clusters[call.namespace].write()


class Ward(Room[C]):
    """A stage for many stories at once."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._free: dict[str, list[C]] = defaultdict(list)
        self._made_at_once = asyncio.Semaphore(MADE_AT_ONCE)

    async def user_cluster(
        self, pod_management: str, *, alarm: bool = False, dead: bool = False
    ) -> RoomPatient:
        """A whole user cluster whose second member then fails, with an alarm, or with its node, if wished."""
        async with self._made_at_once:
            # One that was rolled back has lost its member already: too late for an alarm of that member.
            free = [one for one in self._free[pod_management] if not dead and (one.runs(FAILED) or not alarm)]
            cluster = free[-1] if free else await self.make(pod_management)
            if free:
                self._free[pod_management].remove(cluster)
            if cluster.runs(FAILED):
                cluster.write()
                if alarm:
                    await cluster.raise_alarm(FAILED)
                await self.fail(cluster)
            if dead:
                await user_cluster.let_node_die(self.client, cluster.namespace)
        return RoomPatient(self.client, cluster, dead=dead)

    def give_back(self, patient: Patient, pod_management: str) -> None:
        """It is as whole as it was: it can fail once more."""
        self._free[pod_management].append(self.nodes.clusters[patient.namespace])

    async def retire(self, patient: Patient) -> None:
        """Its processes end: a member that will never start again is not started again and again."""
        await self.nodes.retire(patient.namespace)


def worker(directory: Path, queue: str, proxy: Proxy, temporal: TemporalServer, *, hurry: bool) -> Component:
    """A worker as a process, on a task queue of its own."""
    snapshots = directory / "snapshots"
    snapshots.mkdir(exist_ok=True)
    environment = {
        "TEMPORAL_ADDRESS": temporal.address,
        "REPLACE_ETCD_TASK_QUEUE": queue,
        "REPLACE_ETCD_FAILURE_PROBE_SECONDS": "0",
        "REPLACE_ETCD_LOG_FORMAT": "json",
        "REPLACE_ETCD_MAX_CONCURRENT_ACTIVITIES": "500",
        "REPLACE_ETCD_JANITOR_INTERVAL_SECONDS": "0",
        "REPLACE_ETCD_COMMAND_TIMEOUT_SECONDS": "3",
        "REPLACE_ETCD_SNAPSHOT_DIR": str(snapshots),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    command = [sys.executable, "-m", "tests.robustness.worker_process", proxy.url]
    command += ["hurry"] if hurry else []
    return Component(queue, command, directory=directory, environment=environment)


ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def a_room(
    directory: Path, room: Callable[..., R], cluster: Callable[[str, Disks], C]
) -> AsyncIterator[tuple[R, TemporalServer]]:
    """Set one of this sort up, without a worker."""
    pki = AdminPki(directory / "pki")
    certificates = EtcdPki(directory / "etcd-pki", ("kube-etcd-0", "kube-etcd-1", "kube-etcd-2")).files
    plane = SimulatedControlPlane(directory / "control-plane", pki, node_grace=100_000)
    await plane.start()
    try:
        async with (
            running_temporal(directory) as temporal,
            KubeClient.from_kubeconfig(plane.kubeconfig) as client,
            Nodes(client, certificates, directory / "nodes", cluster) as nodes,
            Proxy(read_kubeconfig(plane.kubeconfig), nodes.execute) as proxy,
        ):
            connected = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
            await user_cluster.make_node(client, user_cluster.SHARED_NODE)
            yield room(client, nodes, proxy, connected, certificates), temporal
    finally:
        await plane.stop()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():  # noqa: ASYNC110 - the nodes announce nothing
            await asyncio.sleep(POLL)
