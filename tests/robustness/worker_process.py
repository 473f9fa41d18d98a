"""The worker for the fault matrix: `worker.build` as it is deployed, but each activity's requests tell its name.

Every activity gets a client of its own whose server address names it, so that the proxy knows whose request it
breaks. Nothing of the product knows of it. Run: `python -m tests.robustness.worker_process PROXY_URL`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from kubernetes.aio.client import Configuration
from temporalio import activity
from temporalio.worker import Worker

from activities.step import TemporalIdentity, Toolbox
from replace_etcd import logs, temporal
from replace_etcd.kubernetes_cluster import KubernetesCluster
from replace_etcd.settings import Settings
from tests.robustness.proxy import PREFIX
from worker import build


def connected(address: str) -> KubernetesCluster:
    """The product's client, at an address without TLS."""
    configuration = Configuration()
    configuration.host = address
    return KubernetesCluster(configuration)


class ClusterOfEach:
    """An `AdminCluster` that is another one inside each activity."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self._clusters: dict[str, KubernetesCluster] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kind = activity.info().activity_type
        if kind not in self._clusters:
            self._clusters[kind] = connected(f"{self._proxy}/{PREFIX}/{kind}")
        method: Callable[..., Any] = getattr(self._clusters[kind], name)
        return method

    async def close_all(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(cluster.close() for cluster in self._clusters.values()))


async def worker_at(proxy: str, settings: Settings) -> tuple[Worker, ClusterOfEach]:
    """A worker as `worker.run` makes it."""
    client = await temporal.connect()
    await temporal.register_search_attributes(client)
    identity = TemporalIdentity(await temporal.cluster_id(client), client.namespace)
    clusters = ClusterOfEach(proxy)
    return build(client, Toolbox(clusters, settings, identity)), clusters


async def run(proxy: str) -> None:
    """Work until the process is ended."""
    worker, clusters = await worker_at(proxy, Settings())
    try:
        await worker.run()
    finally:
        await clusters.close_all()


if __name__ == "__main__":
    logs.configure("json")
    asyncio.run(run(sys.argv[1]))
