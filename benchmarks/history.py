"""The size of a replacement's history: it grows with what is done, never with how long anything takes.

The workflow is the product's, on a real server; its activities are those of the scripted cluster that tests/workflows
plays with. A step that lasts an hour is one that heartbeats as often as an hour's: heartbeats are no events. A step
that is tried again is one event still, which names the last failure.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.step import HEARTBEAT_SECONDS
from benchmarks.models import Machine, Model, machine, save
from benchmarks.say import say
from lab.temporal_server import running_temporal
from replace_etcd.models.result import ReplacementResult
from replace_etcd.temporal import register_search_attributes
from tests.workflows.script import Script
from workflows.replace_etcd_replica import ReplaceEtcdReplica

AN_HOUR = int(3600 / HEARTBEAT_SECONDS)
THROTTLE = timedelta(milliseconds=5)
RETRIES = 4
QUEUE = "benchmarks"


class Size(Model):
    """Of one history."""

    case: str
    bytes: int
    events: int
    heartbeats: int


class Histories(Model):
    """Several."""

    machine: Machine
    sizes: list[Size]


class Slow(Script):
    """A script some of whose steps last, in heartbeats, or fail before they succeed."""

    def __init__(self, lasts: dict[str, int], fails: dict[str, int]) -> None:
        super().__init__()
        self._lasts, self._fails = lasts, fails
        self.heartbeats = 0

    @activity.defn(dynamic=True)
    async def play_slowly(self, arguments: Sequence[RawValue]) -> Any:
        """Every activity."""
        name = activity.info().activity_type
        for _ in range(self._lasts.get(name, 0)):
            activity.heartbeat(f"{name}: waiting")
            self.heartbeats += 1
            await asyncio.sleep(THROTTLE.total_seconds())
        if activity.info().attempt <= self._fails.get(name, 0):
            raise ApplicationError(f"{name}: not yet", type="NotYet")
        return await self.play(arguments)


CASES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "no retries, nothing waits": ({}, {}),
    f"{RETRIES} retries of three steps": (
        {},
        dict.fromkeys(("drain_node", "add_member", "promote_member"), RETRIES),
    ),
    "a drain of an hour": ({"drain_node": AN_HOUR}, {}),
    "a catch-up of an hour": ({"promote_member": AN_HOUR}, {}),
}


async def measure() -> Histories:
    """Every case on one server."""
    here, found = machine(), []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        async with running_temporal(Path(name)) as temporal:
            client = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
            await register_search_attributes(client)
            for case, (lasts, fails) in CASES.items():
                found.append(await _size(client, case, Slow(lasts, fails)))
                say(f"{case}: {found[-1].bytes} bytes, {found[-1].events} events")
    return Histories(machine=here, sizes=found)


async def _size(client: Client, case: str, script: Slow) -> Size:
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[ReplaceEtcdReplica],
        activities=[script.play_slowly],
        max_heartbeat_throttle_interval=THROTTLE,
    ):
        run = await client.start_workflow(
            "ReplaceEtcdReplica",
            {"user_cluster": "user-cluster-1", "failed_replica": "kube-etcd-1"},
            id="replace-etcd.user-cluster-1",
            task_queue=QUEUE,
            result_type=ReplacementResult,
        )
        await run.result()
    info = (await run.describe()).raw_description.workflow_execution_info
    return Size(
        case=case, bytes=info.history_size_bytes, events=info.history_length, heartbeats=script.heartbeats
    )


def run() -> None:
    """Measure and write it down."""
    say(f"written: {save('history', asyncio.run(measure()))}")
