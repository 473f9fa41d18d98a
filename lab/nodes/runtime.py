"""Runs the pods of one node as processes: it plays containerd and its runtime.

It outlives the node agent, as containerd outlives a kubelet: an agent that is gone leaves pods as they are.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from lab.nodes.environment import TOOLS, command, environment, settings
from lab.nodes.launcher import ContainerProcess, ExecProcess, Mount, Process, StartFailed, Stream, launch
from lab.nodes.network import GATEWAY, PodNetwork
from lab.nodes.pace import Pace
from lab.nodes.records import Json, PodRecord


@dataclass(frozen=True)
class Folders:
    """Where the lab's own files are: all of them on a tmpfs of its mount namespace, except the tools."""

    root: Path
    tools: Path

    @property
    def container_root(self) -> Path:
        """An empty directory; every container mounts its own root over it, in its own mount namespace."""
        return self.root / "container-root"


class Runtime:
    """The pods of one node, running or about to."""

    def __init__(self, network: PodNetwork, folders: Folders, pace: Pace) -> None:
        self.records: dict[str, PodRecord] = {}
        self.pace = pace
        self._network = network
        self._folders = folders

    def find(self, namespace: str, name: str) -> PodRecord | None:
        """The pod of this name; of two with one name (one is going), the younger."""
        found = [item for item in self.records.values() if (item.namespace, item.name) == (namespace, name)]
        return found[-1] if found else None

    async def create_sandbox(self, record: PodRecord) -> None:
        """Give the pod its network; kept over restarts of its containers."""
        if record.sandbox is None:
            record.sandbox = await self._network.create()

    async def start(self, pod: Json, spec: Json, record: PodRecord, mounts: list[Mount]) -> None:
        """Start one run of a container; a run that cannot start is recorded as one that ended."""
        assert record.sandbox is not None  # noqa: S101 - the pod got its network before
        container = record.containers[spec["name"]]
        container.environment = environment(pod, spec, record)
        container.working_directory = spec.get("workingDir", "/")
        container.log = self._log(record, container.name, container.restarts + bool(container.container_id))
        tools = [Mount(str(self._folders.tools), TOOLS, read_only=True)]
        wanted = ContainerProcess(
            network=record.sandbox.network,
            hostname=record.hostname,
            root=str(self._folders.container_root),
            argv=command(spec, container.environment),
            env=container.environment,
            cwd=container.working_directory,
            files=settings(record, str(GATEWAY)),
            mounts=tools + mounts,
        )
        with container.log.open("ab") as log:
            try:
                container.began(await launch(wanted, stdout=log, stderr=log))
                record.running_since = record.running_since or time.monotonic()
            except StartFailed as error:
                container.not_started(str(error))

    async def execute(
        self,
        record: PodRecord,
        container_name: str,
        argv: list[str],
        *,
        stdin: Stream = asyncio.subprocess.DEVNULL,
        stdout: Stream = asyncio.subprocess.DEVNULL,
        stderr: Stream = asyncio.subprocess.DEVNULL,
        tty: bool = False,
    ) -> Process:
        """Start a command inside a running container; it ends by itself or with the container."""
        container = record.containers[container_name]
        if container.process is None or not container.process.running:
            raise StartFailed(0, f"container {container_name} is not running")
        wanted = ExecProcess(
            target=container.process.pid,
            argv=argv,
            env=container.environment,
            cwd=container.working_directory,
            tty=tty,
        )
        return await launch(wanted, stdin=stdin, stdout=stdout, stderr=stderr)

    async def remove(self, record: PodRecord) -> None:
        """Forget a pod whose containers have ended, and its network."""
        if record.sandbox is not None:
            await self._network.remove(record.sandbox)
            record.sandbox = None
        self.records.pop(record.uid, None)

    async def set_link(self, record: PodRecord, *, up: bool) -> None:
        """Cut the pod off the network, or connect it again."""
        if record.sandbox is not None:
            await self._network.set_link(record.sandbox, up=up)

    async def set_route(self, record: PodRecord, address: str, *, cut: bool) -> None:
        """Let the pod not reach an address, or every address again."""
        if record.sandbox is not None:
            await self._network.set_route(record.sandbox, address, cut=cut)

    def _log(self, record: PodRecord, container: str, number: int) -> Path:
        folder = self._folders.root / "logs" / f"{record.namespace}_{record.name}_{record.uid}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{container}.{number}.log"
