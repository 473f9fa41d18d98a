"""Everything that a cell of the quick tier needs, set up once: API server, nodes, proxy, Temporal, workers.

User clusters are made up in it by the dozen; each replacement has one of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from lab.control_plane.simulated import SimulatedControlPlane
from lab.kube_client import KubeClient
from lab.kubeconfig import read_kubeconfig
from lab.pki import AdminPki, EtcdPki
from lab.processes import Component
from lab.temporal_server import TemporalServer, running_temporal
from replace_etcd.models.result import ReplacementResult
from tests.robustness import user_cluster
from tests.robustness.nodes import ModelCluster, ModelNodes, all_ready
from tests.robustness.proxy import Call, Proxy

WITHIN = 60.0
POLL = 0.05
Handle = WorkflowHandle[Any, ReplacementResult]


class Room:
    """The running parts, and what a story does with them."""

    def __init__(
        self,
        client: KubeClient,
        nodes: ModelNodes,
        proxy: Proxy,
        temporal: Client,
        certificates: dict[str, bytes],
    ) -> None:
        self.client = client
        self.nodes = nodes
        self.proxy = proxy
        self.temporal = temporal
        self._certificates = certificates
        proxy.watchers.append(self._somebody_writes)

    async def user_cluster(self, namespace: str, pod_management: str = "OrderedReady") -> ModelCluster:
        """A whole user cluster whose second member then fails."""
        cluster = self.nodes.add(namespace)
        await user_cluster.create(self.client, namespace, self.nodes.port, self._certificates, pod_management)
        await _until(lambda: all_ready(cluster))
        await user_cluster.until_counted(self.client, namespace, healthy=3)
        cluster.write()
        await self.nodes.destroy(namespace)
        await user_cluster.until_counted(self.client, namespace, healthy=2)
        return cluster

    async def start(self, namespace: str, queue: str, **fields: Any) -> Handle:
        """Start a replacement, with the id that keeps a second one out."""
        return await self.temporal.start_workflow(
            "ReplaceEtcdReplica",
            {"user_cluster": namespace, **fields},
            id=f"replace-etcd.{namespace}",
            task_queue=queue,
            result_type=ReplacementResult,
        )

    def _somebody_writes(self, call: Call) -> None:
        """The traffic: a key with each request of the worker that passes."""
        if call.namespace in self.nodes.clusters:
            self.nodes.clusters[call.namespace].write()


def worker(
    directory: Path, name: str, queue: str, proxy: Proxy, temporal: TemporalServer, **settings: str
) -> Component:
    """A worker as a process, on a task queue of its own."""
    environment = {
        "TEMPORAL_ADDRESS": temporal.address,
        "REPLACE_ETCD_TASK_QUEUE": queue,
        "REPLACE_ETCD_FAILURE_PROBE_SECONDS": "0",
        "REPLACE_ETCD_LOG_FORMAT": "json",
        "REPLACE_ETCD_MAX_CONCURRENT_ACTIVITIES": "500",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        **settings,
    }
    command = [sys.executable, "-m", "tests.robustness.worker_process", proxy.url]
    return Component(name, command, directory=directory, environment=environment)


ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def a_room(directory: Path) -> AsyncIterator[tuple[Room, TemporalServer]]:
    """Set it up, without a worker."""
    pki = AdminPki(directory / "pki")
    certificates = EtcdPki(directory / "etcd-pki", ("kube-etcd-0", "kube-etcd-1", "kube-etcd-2")).files
    plane = SimulatedControlPlane(directory / "control-plane", pki, node_grace=100_000)
    await plane.start()
    try:
        async with (
            running_temporal(directory) as temporal,
            KubeClient.from_kubeconfig(plane.kubeconfig) as client,
            ModelNodes(client, pki, certificates, directory / "nodes") as nodes,
            Proxy(read_kubeconfig(plane.kubeconfig)) as proxy,
        ):
            connected = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
            await user_cluster.make_node(client, user_cluster.SHARED_NODE, nodes.port)
            yield Room(client, nodes, proxy, connected, certificates), temporal
    finally:
        await plane.stop()


async def _until(holds: Any) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():  # noqa: ASYNC110 - the nodes announce nothing
            await asyncio.sleep(POLL)
