"""Sets the demo's stage: a Temporal server, a lab and the worker, and takes all of it down again whatever happens."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from lab.client import LabClient
from lab.options import LabOptions
from lab.processes import Component
from lab.runner import running_lab
from lab.temporal_server import TemporalServer, running_temporal
from replace_etcd import replacements
from replace_etcd.cli.demo.worker import worker_process
from replace_etcd.cli.exits import CliError, Exit
from replace_etcd.cli.views import Narrator

T = TypeVar("T")
READY_WITHIN = 60.0
LOOK_EVERY = 0.1
LAST_WORDS = 10


@dataclass(frozen=True)
class Stage:
    """Everything that runs."""

    temporal: TemporalServer
    client: Client
    lab: LabClient
    worker: Component
    task_queue: str

    async def until_worker_polls(self) -> None:
        """Wait until the worker asks for work."""
        try:
            async with asyncio.timeout(READY_WITHIN):
                while True:
                    if await replacements.has_worker(self.client, self.task_queue):
                        return
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError:
            raise CliError(f"the worker does not work: {self._last_words()}", Exit.FAILED) from None

    async def while_worker_lives(self, work: Awaitable[T]) -> T:
        """Do something that only a worker can bring to its end; when it dies, say what it said last."""
        task = asyncio.ensure_future(work)
        death = asyncio.ensure_future(self.worker.wait())
        try:
            await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise CliError(f"the worker has ended; it said last: {self._last_words()}", Exit.FAILED)
        finally:
            task.cancel()
            death.cancel()
            await asyncio.wait({task, death})

    def _last_words(self) -> str:
        return f"\n{self.worker.last_words(LAST_WORDS)}"


@asynccontextmanager
async def staged(options: LabOptions, task_queue: str, narrator: Narrator) -> AsyncIterator[Stage]:
    """Run all of it while the block runs; the worker is started, but not waited for."""
    with tempfile.TemporaryDirectory(prefix="replace-etcd-demo-") as name:
        directory = Path(name)
        async with AsyncExitStack() as stack:
            temporal, lab = await _together(
                stack,
                _announced_temporal(directory, narrator),
                running_lab(options, directory / "lab", progress=narrator.say),
            )
            worker = worker_process(directory, temporal.address, lab.kubeconfig, task_queue)
            stack.push_async_callback(worker.stop)
            await worker.start()
            client = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
            yield Stage(temporal, client, lab, worker, task_queue)


@asynccontextmanager
async def _announced_temporal(directory: Path, narrator: Narrator) -> AsyncIterator[TemporalServer]:
    async with running_temporal(directory) as temporal:
        narrator.say(f"Temporal answers; its Web UI: {temporal.ui}")
        yield temporal


async def _together(stack: AsyncExitStack, *contexts: AbstractAsyncContextManager[Any]) -> list[Any]:
    """Enter them at the same time; when one fails, the others are not left half entered."""
    tasks = [asyncio.create_task(stack.enter_async_context(context)) for context in contexts]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
