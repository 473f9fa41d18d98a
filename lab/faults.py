"""Destroys one member of the user cluster's etcd, in the four ways of the facts.

Each returns when it has taken effect. A process is stopped before its files are touched: a running etcd would write
over the damage, and the node agent would start it again between the kill and the deletion.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from lab.fixture.names import NAMESPACE, disk_of, node_of
from lab.fixture.shapes import Facts
from lab.kube_client import KubeClient
from lab.models import Fault
from lab.nodes.cluster import Nodes
from lab.nodes.launcher import Process
from lab.observe import until

STOPPED = "Tt"


def corrupt_database(directory: Path) -> None:
    """Overwrite the first 16 KiB of the database: its meta pages."""
    _overwrite(directory / "member/snap/db", 0, b"\xff" * 16 * 1024)


def corrupt_wal(directory: Path) -> None:
    """Overwrite a piece of the newest write-ahead log."""
    newest = max((directory / "member/wal").glob("*.wal"))
    _overwrite(newest, 200, b"\xff" * 4096)


def wipe(directory: Path) -> None:
    """Delete everything in the data directory, but not the directory: it is a mount."""
    for entry in directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


DAMAGE: dict[Fault, Callable[[Path], None]] = {
    "corrupt-db": corrupt_database,
    "corrupt-wal": corrupt_wal,
    "wipe": wipe,
}


class Faults:
    """Breaks members; it knows the nodes' disks and processes, and asks the API only whether it shows."""

    def __init__(self, nodes: Nodes, disks: Path, client: KubeClient, shape: Facts) -> None:
        self._nodes = nodes
        self._shape = shape
        self._disks = disks
        self._client = client

    async def destroy(self, replica: str, fault: Fault) -> None:
        """Break one member for good."""
        processes = self.processes(replica)
        for process in processes:
            process.signal(signal.SIGSTOP)
            await _stopped(process)
        if fault == "hang":
            return
        DAMAGE[fault](self.data_directory(replica))
        for process in processes:
            process.signal(signal.SIGKILL)
            await process.wait()
        await self._shows(replica)

    def processes(self, replica: str) -> list[Process]:
        """The member's process, if it runs."""
        _, record = self._nodes.find(NAMESPACE, replica)
        process = record.containers[self._shape.container].process
        return [process] if process is not None and process.running else []

    def data_directory(self, replica: str) -> Path:
        """The member's disk on its node."""
        disk: Path = self._disks / "nodes" / node_of(replica) / disk_of(replica).lstrip("/")
        if self._shape.network_disks:
            disk = self._disks / "network-disks" / replica
        return disk / self._shape.data(replica)

    async def _shows(self, replica: str) -> None:
        """Until the API shows that the pod is not Ready."""

        async def not_ready() -> bool:
            pod = await self._client.get("pods", replica, NAMESPACE)
            statuses = pod["status"].get("containerStatuses", [])
            return not any(item["ready"] for item in statuses if item["name"] == self._shape.container)

        await until(not_ready)


async def _stopped(process: Process) -> None:
    async def stopped() -> bool:
        return not process.running or _state(process.pid) in STOPPED

    await until(stopped)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
