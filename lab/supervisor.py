"""Runs a lab inside its namespaces: everything but the runner lives in or below this process.

It reports to the runner in JSON lines over a pipe: `{"progress": ...}` while the lab comes up, then `{"ready": true}`
or `{"error": ...}`. At SIGTERM, which also comes when the runner has gone, it removes its files and ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.admin_cluster import API_PORT, AdminCluster
from lab.binaries import MissingBinary
from lab.control import ControlApi
from lab.control_plane import ControlPlaneFailed
from lab.fixture.names import disk_of, node_of, replicas
from lab.kubeconfig import write_kubeconfig
from lab.layout import Layout
from lab.nodes.commands import CommandFailed
from lab.nodes.container_init import MNT_DETACH, mount, unmount
from lab.nodes.launcher import become_subreaper
from lab.options import LabOptions
from lab.relay import Relay

EXPECTED = (MissingBinary, ControlPlaneFailed, CommandFailed, OSError, TimeoutError)
START_WITHIN = 180.0


@dataclass(frozen=True)
class Handed:
    """What the runner hands down: descriptors, the directory, the options."""

    lifeline: int
    report: int
    listener: int
    directory: Path
    options: LabOptions

    @classmethod
    def from_arguments(cls, words: list[str]) -> Handed:
        """Read the arguments that the runner wrote."""
        lifeline, report, listener, directory, options = words
        return cls(
            int(lifeline),
            int(report),
            int(listener),
            Path(directory),
            LabOptions.model_validate_json(options),
        )


class Supervisor:
    """One lab's life inside the namespaces."""

    def __init__(self, handed: Handed) -> None:
        self._handed = handed
        self._layout = Layout(handed.directory)
        self._asked_to_end = asyncio.Event()

    async def run(self) -> int:
        """Come up, serve until asked to end, clean up."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._asked_to_end.set)
        ended = asyncio.create_task(self._asked_to_end.wait())
        living = asyncio.create_task(self._live())
        await asyncio.wait({ended, living}, return_when=asyncio.FIRST_COMPLETED)
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        return 0

    async def _live(self) -> None:
        try:
            await self._serve()
        except EXPECTED as error:
            traceback.print_exc()
            self._say(error=str(error) or type(error).__name__)
        except Exception as error:
            traceback.print_exc()
            self._say(error=f"{type(error).__name__}: {error}")
            raise

    async def _serve(self) -> None:
        listener = socket.socket(fileno=self._handed.listener)
        listener.setblocking(False)
        cluster = AdminCluster(
            self._handed.options,
            self._layout.certificates,
            self._layout.data,
            lambda text: self._say(progress=text),
        )
        server = f"https://127.0.0.1:{listener.getsockname()[1]}"
        write_kubeconfig(self._layout.kubeconfig, server=server, ca=cluster.pki.ca, client=cluster.pki.admin)
        relay, control = Relay(listener, API_PORT), ControlApi(cluster)
        try:
            async with asyncio.timeout(START_WITHIN):
                await relay.start()
                await cluster.start()
            await control.start(self._layout.control_socket)
            self._say(ready=True)
            await self._asked_to_end.wait()
        finally:
            await control.stop()
            await relay.stop()
            await cluster.stop()

    def _say(self, **message: object) -> None:
        with suppress(BrokenPipeError):
            os.write(self._handed.report, json.dumps(message).encode() + b"\n")


def small_file_systems(options: LabOptions, data: Path) -> dict[Path, int]:
    """What can run full by itself, with its size."""
    found: dict[Path, int] = {}
    if options.ephemeral_storage:
        found[data / "pods"] = options.ephemeral_storage
    if options.disk_size:
        for replica in replicas(options.members):
            found[data / "nodes" / node_of(replica) / disk_of(replica).lstrip("/")] = options.disk_size
    return found


def main() -> int:
    """Mount the lab's own tmpfs, run, and remove what the lab left in the directory."""
    handed = Handed.from_arguments(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    layout = Layout(handed.directory)
    become_subreaper()
    layout.data.mkdir()
    mount("lab", str(layout.data), "tmpfs", 0, "mode=755,size=80%")
    for directory, size in small_file_systems(handed.options, layout.data).items():
        directory.mkdir(parents=True)
        mount("lab", str(directory), "tmpfs", 0, f"mode=755,size={size}")
    try:
        return asyncio.run(Supervisor(handed).run())
    finally:
        unmount(str(layout.data), MNT_DETACH)
        layout.remove()


if __name__ == "__main__":
    sys.exit(main())
