"""The worker for the fault matrix: `worker.py` as it is deployed, but each activity's requests tell its name.

Every activity gets a client of its own whose server address names it, so that the proxy knows whose request it
breaks. Nothing of the product knows of it. Run: `python -m tests.robustness.worker_process PROXY_URL [hurry]`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from kubernetes.aio.client import Configuration
from temporalio import activity
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import worker
from activities import fencing, step, survivors
from replace_etcd import kubernetes_cluster
from replace_etcd.kubernetes_cluster import KubernetesCluster
from tests.robustness.proxy import PREFIX
from workflows import options

HURRY = 3


def connected(address: str) -> KubernetesCluster:
    """The product's client, at an address without TLS."""
    configuration = Configuration()
    configuration.host = address
    configuration.verify_ssl = False  # nothing to verify: saves the reading of the machine's authorities
    return KubernetesCluster(configuration)


class ClusterOfEach:
    """An `AdminCluster` that is another one inside each activity."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self._clusters: dict[str, KubernetesCluster] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kind = activity.info().activity_type if activity.in_activity() else "worker"
        if kind not in self._clusters:
            self._clusters[kind] = connected(f"{self._proxy}/{PREFIX}/{kind}")
        method: Callable[..., Any] = getattr(self._clusters[kind], name)
        return method

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(cluster.close() for cluster in self._clusters.values()))


def hurry() -> None:
    """Let the times that fencing waits out pass three times as fast, in the proportions that they have.

    What a run loses with its worker it hears of earlier, too. Without the sandbox, which every other tier has, a
    workflow starts without importing its modules anew.
    """
    fencing.LEASE /= HURRY
    fencing.LEFT_FOR_A_CHANGE /= HURRY
    kubernetes_cluster.REQUEST_SECONDS /= HURRY
    kubernetes_cluster.HANDSHAKE_SECONDS /= HURRY
    survivors.EXEC_MARGIN_SECONDS /= HURRY
    step.HEARTBEAT_SECONDS = 1.0
    options.HEARTBEAT /= 2
    unsandboxed = partial(Worker, workflow_runner=UnsandboxedWorkflowRunner())
    worker.Worker = unsandboxed  # type: ignore[attr-defined, assignment]


def main(proxy: str, *, in_a_hurry: bool) -> int:
    """`worker.main`, with other hands."""
    if in_a_hurry:
        hurry()
    clusters = ClusterOfEach(proxy)

    async def connect(*_: object) -> ClusterOfEach:
        return clusters

    kubernetes_cluster.connect = connect  # type: ignore[assignment]
    return worker.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], in_a_hurry=sys.argv[2:] == ["hurry"]))
