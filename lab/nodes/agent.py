"""One node of the admin cluster: it plays the kubelet.

It registers the node, renews its lease, watches the pods that are bound to it and gives each a worker. Stopping it
is a kubelet's death: the lease runs out, exec stops to answer, and the pods run on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from lab.kube_client import ApiError, KubeClient
from lab.nodes import node_object
from lab.nodes.kubelet_api import KubeletApi, server_context
from lab.nodes.pod_worker import PodWorker
from lab.nodes.records import Json, PodRecord
from lab.nodes.runtime import Runtime
from lab.nodes.tasks import cancelled
from lab.nodes.volumes import Volumes
from lab.observe import is_ready
from lab.pki import KeyPair

LEASE_PERIOD = 2.0
STATUS_PERIOD = 10.0
"""A kubelet's nodeStatusUpdateFrequency."""
RETRY = 0.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeIdentity:
    """A node's name, address, labels and certificate."""

    name: str
    address: str
    labels: dict[str, str]
    certificate: KeyPair
    ca: Path


class NodeAgent:
    """A kubelet that can be stopped and started while the runtime keeps the pods."""

    def __init__(
        self, identity: NodeIdentity, runtime: Runtime, client: KubeClient, volumes: Volumes
    ) -> None:
        self.identity = identity
        self.runtime = runtime
        self._client = client
        self._volumes = volumes
        self._server = KubeletApi(
            runtime, identity.address, server_context(str(identity.ca), identity.certificate)
        )
        self._workers: dict[str, tuple[PodWorker, asyncio.Task[None]]] = {}
        self._loops: list[asyncio.Task[None]] = []

    @property
    def running(self) -> bool:
        """Whether the agent works; its pods may run without it."""
        return bool(self._loops)

    async def start(self) -> None:
        """Register the node and begin to look after its pods."""
        if self.running:
            return
        await self._server.start()
        await self._until_answered(self._register)
        works = (self._renew, self._stay_ready, self._follow_pods)
        self._loops = [asyncio.create_task(self._forever(work)) for work in works]

    async def stop(self) -> None:
        """Die: nothing is said to the API server, no pod is touched."""
        await self._stop_working()
        await self._server.stop()

    async def freeze(self) -> None:
        """Hang, like a kubelet that is stopped with a signal: who asks it something gets no answer at all."""
        await self._stop_working()
        self._server.freeze()

    async def _stop_working(self) -> None:
        await cancelled(*self._loops, *(task for _, task in self._workers.values()))
        self._loops, self._workers = [], {}

    async def _register(self) -> None:
        node = node_object.node(self.identity.name, self.identity.labels)
        if await self._client.find("nodes", self.identity.name) is None:
            await self._client.create("nodes", node)
        await self._post_status()
        await self._renew_lease()

    async def _stay_ready(self) -> None:
        """Say so again where the node lifecycle controller has not seen the lease renewed for too long.

        It cannot where its own watch broke with the API server; nobody but the kubelet takes that back
        (https://kubernetes.io/docs/reference/node/node-status/#heartbeats).
        """
        while True:
            await asyncio.sleep(STATUS_PERIOD)
            node = await self._client.find("nodes", self.identity.name)
            if node is not None and not is_ready(node):
                await self._post_status()

    async def _post_status(self) -> None:
        status = node_object.status(self.identity.address)
        await self._client.patch("nodes", self.identity.name, {"status": status}, subresource="status")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_PERIOD)
            await self._renew_lease()

    async def _renew_lease(self) -> None:
        lease = node_object.lease(self.identity.name)
        try:
            await self._client.patch("leases", self.identity.name, lease, node_object.LEASE_NAMESPACE)
        except ApiError as error:
            if error.code != 404:
                raise
            await self._client.create("leases", lease, node_object.LEASE_NAMESPACE)

    async def _follow_pods(self) -> None:
        """List, then watch from there; a watch that ends leads to another list."""
        selector = f"spec.nodeName={self.identity.name}"
        found = await self._client.request("GET", "/api/v1/pods", params={"fieldSelector": selector})
        self._take_all(found["items"])
        version = found["metadata"]["resourceVersion"]
        async for kind, pod in self._client.watch("pods", fieldSelector=selector, resourceVersion=version):
            if kind == "DELETED":
                self._gone(pod["metadata"]["uid"])
            else:
                self._take(pod)

    def _take_all(self, pods: list[Json]) -> None:
        for pod in pods:
            self._take(pod)
        for uid in self.runtime.records.keys() - {pod["metadata"]["uid"] for pod in pods}:
            self._worker(self.runtime.records[uid])
            self._gone(uid)

    def _take(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"} and uid not in self.runtime.records:
            return
        record = self.runtime.records.setdefault(uid, PodRecord.of(pod))
        self._worker(record).update(pod)

    def _gone(self, uid: str) -> None:
        """The object was deleted by force: the processes are ended as if with the smallest grace period."""
        if uid in self._workers:
            self._workers[uid][0].end(1.0)

    def _worker(self, record: PodRecord) -> PodWorker:
        if record.uid not in self._workers:
            worker = PodWorker(record, self.runtime, self._volumes, self._client, self.identity.address)
            task = asyncio.create_task(worker.run())
            task.add_done_callback(lambda _: self._workers.pop(record.uid, None))
            self._workers[record.uid] = (worker, task)
        return self._workers[record.uid][0]

    async def _until_answered(self, work: Callable[[], object]) -> None:
        await self._forever(work, once=True)

    async def _forever(self, work: Callable[[], object], *, once: bool = False) -> None:
        """Repeat what the API server refused or did not answer; a node agent never gives up."""
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                try:
                    await work()  # type: ignore[misc]
                except ApiError as error:
                    logger.warning("%s: %s", self.identity.name, error)
                else:
                    if once:
                        return
            await asyncio.sleep(RETRY)
