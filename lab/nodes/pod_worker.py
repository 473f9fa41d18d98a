"""Takes one pod from bound to gone: it plays the kubelet's pod worker.

Volumes, network, containers; restarts with a back-off that grows while a container keeps failing; readiness;
SIGTERM, the grace period and SIGKILL when the pod is deleted, and only then the end of the object. The delays of
a crash loop are a tenth of a kubelet's, so that a lab is not spent waiting.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp

from lab.kube_client import ApiError, KubeClient
from lab.nodes import probes
from lab.nodes.environment import environment
from lab.nodes.launcher import Mount, StartFailed
from lab.nodes.pod_status import pod_status, ready
from lab.nodes.records import ContainerRecord, Json, PodRecord
from lab.nodes.runtime import Runtime
from lab.nodes.tasks import cancelled, uninterrupted
from lab.nodes.volumes import NotMountable, Volumes
from lab.nodes.volumes import mounts as mounts_of

FIRST_BACK_OFF, LONGEST_BACK_OFF = 1.0, 10.0
MISSING_IMAGE = ":missing"
RETRY_MOUNT = 0.3
RETRY_API = 0.2

logger = logging.getLogger(__name__)


def back_off(failures_in_a_row: int) -> float:
    """How long to wait before the next start: not at all after the first end, then 1, 2, 4 ... seconds."""
    if failures_in_a_row <= 1:
        return 0.0
    return min(FIRST_BACK_OFF * 2.0 ** (failures_in_a_row - 2), LONGEST_BACK_OFF)


class PodWorker:
    """One pod of one node, from the moment the agent sees it."""

    def __init__(
        self, record: PodRecord, runtime: Runtime, mounts: Volumes, client: KubeClient, address: str
    ) -> None:
        self.record = record
        self._runtime = runtime
        self._volumes = mounts
        self._client = client
        self._address = address
        self._changed = asyncio.Event()
        self._grace: float | None = None
        self._grace_changed = asyncio.Event()
        self._reported: Json = {}

    def update(self, pod: Json) -> None:
        """Take a newer state of the object; a deletion starts the end, a shorter grace period hurries it."""
        self.record.pod = pod
        if self._is_overwritten():
            self._changed.set()
        if pod["metadata"].get("deletionTimestamp"):
            self.end(float(pod["metadata"].get("deletionGracePeriodSeconds", 0)))

    def end(self, grace: float) -> None:
        """End the pod within so many seconds from now."""
        if self._grace is None or grace < self._grace:
            self._grace = grace
            self._grace_changed.set()

    async def run(self) -> None:
        """Keep the pod running until its deletion, then end it and delete the object."""
        reporting = asyncio.create_task(self._report_changes())
        living = asyncio.create_task(self._live())
        try:
            await self._grace_changed.wait()
            await cancelled(living)
            await self._end_containers()
            self._changed.set()
            await cancelled(reporting)
            await self._finish()
        finally:
            await cancelled(living, reporting)

    async def _live(self) -> None:
        """The pod's life; what goes wrong in it is logged and tried again, as a kubelet syncs a pod again."""
        while True:
            try:
                await self._run_containers()
            except Exception:
                logger.exception("pod %s/%s could not be run", self.record.namespace, self.record.name)
                await asyncio.sleep(RETRY_MOUNT)
            else:
                return

    async def _run_containers(self) -> None:
        directories = await self._mounted()
        await uninterrupted(self._runtime.create_sandbox(self.record))
        self._changed.set()
        async with asyncio.TaskGroup() as group:
            for spec in self.record.pod["spec"]["containers"]:
                variables = environment(self.record.pod, spec, self.record)
                group.create_task(self._keep_running(spec, mounts_of(spec, directories, variables)))

    async def _mounted(self) -> dict[str, Path]:
        """Mount the volumes, as soon as what they need is there; the pod is in ContainerCreating until then."""
        while True:
            try:
                return await self._volumes.mount(self.record.pod, self.record)
            except (NotMountable, ApiError, aiohttp.ClientError) as error:
                for container in self.record.containers.values():
                    container.waiting_message = str(error)
                self._changed.set()
                await asyncio.sleep(RETRY_MOUNT)

    async def _keep_running(self, spec: Json, mounts: list[Mount]) -> None:
        container = self.record.containers[spec["name"]]
        await self._pull(spec, container)
        while True:
            if container.process is None:
                if container.finished and not self._restarts(container.finished.exit_code):
                    return
                await self._wait_out_back_off(container)
                await uninterrupted(self._runtime.start(self.record.pod, spec, self.record, mounts))
                self._changed.set()
            if container.process is not None:
                await self._until_end(spec, container)
                self._changed.set()

    async def _pull(self, spec: Json, container: ContainerRecord) -> None:
        """There are no images here; the tag `missing` stands for one that cannot be pulled, ever."""
        if spec.get("image", "").endswith(MISSING_IMAGE):
            container.waiting = "ImagePullBackOff"
            container.waiting_message = f'Back-off pulling image "{spec["image"]}": not found'
            self._changed.set()
            await asyncio.Event().wait()

    def _restarts(self, exit_code: int) -> bool:
        policy = self.record.pod["spec"].get("restartPolicy", "Always")
        return policy == "Always" or (policy == "OnFailure" and exit_code != 0)

    async def _wait_out_back_off(self, container: ContainerRecord) -> None:
        delay = back_off(container.failures_in_a_row)
        if delay:
            container.waiting = "CrashLoopBackOff"
            container.waiting_message = f"back-off {delay:.0f}s restarting failed container={container.name}"
            self._changed.set()
            await asyncio.sleep(delay)
        elif container.failures_in_a_row:
            await asyncio.sleep(self._runtime.pace.restart)

    async def _until_end(self, spec: Json, container: ContainerRecord) -> None:
        assert container.process is not None  # noqa: S101 - the caller saw it
        probing = asyncio.create_task(self._probe(spec, container))
        try:
            exit_code = await container.process.wait()
        finally:
            await cancelled(probing)
        container.ended(exit_code)

    async def _probe(self, spec: Json, container: ContainerRecord) -> None:
        def report(ready: bool) -> None:
            container.ready = ready
            self._changed.set()

        probe = spec.get("readinessProbe")
        if probe is None:
            report(True)
            return
        attempt = probes.attempt_of(probe, spec, self.record.address, self._exec(container))
        await asyncio.sleep(self._runtime.pace.notice)
        await probes.watch(probe, attempt, report)

    def _exec(self, container: ContainerRecord) -> Callable[[list[str]], Awaitable[int]]:
        async def execute(words: list[str]) -> int:
            with suppress(StartFailed):
                return await (await self._runtime.execute(self.record, container.name, words)).wait()
            return 1

        return execute

    async def _end_containers(self) -> None:
        """SIGTERM to all, SIGKILL to those that still run when the grace period is over."""
        self.record.ending = True
        for process in self.record.processes:
            process.signal(signal.SIGTERM)
        await self._wait_out_grace()
        for process in self.record.processes:
            process.signal(signal.SIGKILL)
        for container in self.record.containers.values():
            container.waiting = "" if container.finished else container.waiting
            if container.process is not None:
                container.ended(await container.process.wait())

    async def _wait_out_grace(self) -> None:
        """Until all containers ended or the grace period is over, which another deletion may have shortened."""
        clock = asyncio.get_running_loop().time
        started = clock()
        ended = asyncio.create_task(self._all_ended())
        while not ended.done() and (left := started + (self._grace or 0) - clock()) > 0:
            self._grace_changed.clear()
            shortened = asyncio.create_task(self._grace_changed.wait())
            await asyncio.wait({ended, shortened}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            await cancelled(shortened)
        await cancelled(ended)

    async def _all_ended(self) -> None:
        for process in self.record.processes:
            await process.wait()

    async def _finish(self) -> None:
        """The last status, then the end of the object: what a StatefulSet waits for to create the next."""
        await self._patch_status()
        await asyncio.sleep(self._runtime.pace.tear_down)
        await self._runtime.remove(self.record)
        self._volumes.unmount(self.record)
        options: Json = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.record.uid}}
        await self._insist(
            lambda: self._client.delete("pods", self.record.name, self.record.namespace, options)
        )

    async def _report_changes(self) -> None:
        while True:
            await self._patch_status()
            await self._changed.wait()
            self._changed.clear()

    async def _patch_status(self) -> None:
        status = pod_status(self.record, self._address)
        if status == self._reported and not self._is_overwritten():
            return
        body: Json = {"metadata": {"uid": self.record.uid}, "status": status}
        await self._insist(
            lambda: self._client.patch(
                "pods", self.record.name, body, self.record.namespace, subresource="status"
            )
        )
        self._reported = status

    def _is_overwritten(self) -> bool:
        """Whether the node lifecycle controller, for which a node was silent, has made a pod unready that is not."""
        if not self._reported:
            return False
        return ready(self.record.pod.get("status", {})) != ready(self._reported)

    async def _insist(self, request: Callable[[], Awaitable[Json]]) -> None:
        """Until the API server answers; gone or replaced by another pod of that name is an answer, too."""
        while True:
            try:
                await request()
            except ApiError as error:
                if error.code in {404, 409, 422}:
                    return
            except (aiohttp.ClientError, TimeoutError):
                pass
            else:
                return
            await asyncio.sleep(RETRY_API)
