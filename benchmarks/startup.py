"""Start-up and footprint: the worker from exec to its first poll, `--help`, imports, the memory of an idle worker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from benchmarks.models import Machine, Model, Spread, machine, save, spread
from benchmarks.processes import memory_mib
from benchmarks.say import say
from lab.control_plane.simulated import SimulatedControlPlane
from lab.pki import AdminPki
from lab.processes import Component
from lab.temporal_server import running_temporal
from replace_etcd.cli.demo.worker import worker_process

PACKAGES = ("replace_etcd", "replace_etcd.cli", "activities", "workflows", "worker", "lab.client")
MODULES = {"activities": "activities.preflight", "workflows": "workflows.replace_etcd_replica"}
RESTS = 5.0
LOOK_EVERY = 0.02
QUEUE = "benchmarks"


class Startup(Model):
    """Seconds, and MiB."""

    machine: Machine
    help_seconds: Spread
    import_seconds: dict[str, Spread]
    """A process that imports it, and all that it needs, less one that imports nothing."""
    first_poll_seconds: Spread
    """From exec until Temporal knows of its poll; the Schedule is there already."""
    idle_mib: Spread
    """Resident, some seconds later."""


def _seconds(*words: str) -> float:
    began = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _python(code: str) -> float:
    return _seconds(sys.executable, "-c", code)


def _runs(count: int, measured: Callable[[], float]) -> Spread:
    measured()  # what is read from the disk for the first time is not counted
    return spread(measured() for _ in range(count))


def _imports(count: int) -> dict[str, Spread]:
    nothing = _runs(count, lambda: _python("pass")).median
    found = {}
    for name in PACKAGES:
        code = f"import {MODULES.get(name, name)}"
        found[name] = _runs(count, lambda code=code: _python(code) - nothing)  # type: ignore[misc]
    return found


async def _workers(count: int) -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        plane = SimulatedControlPlane(directory / "plane", AdminPki(directory / "pki"))
        await plane.start()
        try:
            async with running_temporal(directory) as temporal:
                client = await Client.connect(temporal.address)
                made = worker_process(directory, temporal.address, plane.kubeconfig, QUEUE)
                found = [await _one(made, client) for _ in range(count + 1)][1:]
        finally:
            await plane.stop()
    return [seconds for seconds, _ in found], [mib for _, mib in found]


async def _one(made: Component, client: Client) -> tuple[float, float]:
    began = time.monotonic()
    await made.start()
    pid = made.pid
    assert pid is not None  # noqa: S101 - it was started just now
    try:
        async with asyncio.timeout(60):
            while not await _polls(client, pid):  # noqa: ASYNC110 - the server is asked
                await asyncio.sleep(LOOK_EVERY)
        seconds = time.monotonic() - began
        await asyncio.sleep(RESTS)
        return seconds, memory_mib(pid)
    finally:
        await made.stop(grace=10)


async def _polls(client: Client, pid: int) -> bool:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await client.workflow_service.describe_task_queue(request)
    return any(poller.identity.startswith(f"{pid}@") for poller in answer.pollers)


def run(runs: int) -> None:
    """Measure and write it down."""
    here = machine()
    command = str(Path(sys.executable).with_name("replace-etcd"))
    helped = _runs(runs, lambda: _seconds(command, "--help"))
    say(f"--help: {helped.median:.3f} s")
    imports = _imports(runs)
    seconds, mib = asyncio.run(_workers(runs))
    result = Startup(
        machine=here,
        help_seconds=helped,
        import_seconds=imports,
        first_poll_seconds=spread(seconds),
        idle_mib=spread(mib),
    )
    say(f"first poll: {result.first_poll_seconds.median:.2f} s, idle {result.idle_mib.median:.0f} MiB")
    say(f"written: {save('startup', result)}")
