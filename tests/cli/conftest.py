"""The command line as a process, a real Temporal server, and the real workflow with scripted activities."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner

from lab.temporal_server import TemporalServer
from replace_etcd.temporal import register_search_attributes
from tests.servers import temporal_for_all
from tests.workflows.conftest import playing
from tests.workflows.script import Script

WITHIN = 60.0


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


class Terminal:
    """Types commands; none of the caller's TEMPORAL_* reaches them."""

    def __init__(self, address: str, queue: str) -> None:
        foreign = [name for name in os.environ if name.startswith("TEMPORAL_")]
        self._environment = {name: value for name, value in os.environ.items() if name not in foreign}
        self._environment |= {"TEMPORAL_ADDRESS": address, "TEMPORAL_CONFIG_FILE": os.devnull}
        self._environment["REPLACE_ETCD_TASK_QUEUE"] = queue

    async def begin(self, *words: str, **environment: str) -> asyncio.subprocess.Process:
        """Start a command."""
        return await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("replace-etcd"),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self._environment, **environment},
        )

    async def end(self, process: asyncio.subprocess.Process) -> Answer:
        """Wait for its end."""
        async with asyncio.timeout(WITHIN):
            out, err = await process.communicate()
        return Answer(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, *words: str, **environment: str) -> Answer:
        """Run a command to its end."""
        return await self.end(await self.begin(*words, **environment))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A Temporal dev server for all of them."""
    with temporal_for_all(tmp_path_factory.mktemp("temporal")) as running:
        yield running


@pytest.fixture
def user_cluster() -> str:
    """A user cluster of the test's own: the server is shared, and the id keeps a second replacement out."""
    return f"user-cluster-{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def client(server: TemporalServer) -> Client:
    """A client of it, with the search attributes registered as a worker does."""
    connected = await Client.connect(server.address, data_converter=pydantic_data_converter)
    await register_search_attributes(connected)
    return connected


@pytest.fixture
def terminal(server: TemporalServer, script: Script) -> Terminal:
    """A shell of somebody who knows the server's address."""
    return Terminal(server.address, script.queue)


@pytest.fixture
def script() -> Script:
    """What the activities answer."""
    return Script()


@asynccontextmanager
async def working(client: Client, script: Script) -> AsyncIterator[None]:
    """A worker while the block runs."""
    async with playing(client, script, workflow_runner=UnsandboxedWorkflowRunner()):
        yield
