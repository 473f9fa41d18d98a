"""The stage of one run: a lab under traffic, a Temporal that keeps its store, two workers behind a proxy.

Two workers, so that one that hangs is succeeded by the other while it still holds what it began; whatever ends
unasked is started again, as a Deployment does it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from lab.client import LabClient
from lab.fixture.names import NAMESPACE
from lab.kube_client import KubeClient
from lab.kubeconfig import read_kubeconfig
from lab.options import LabOptions
from lab.processes import Component
from lab.runner import running_lab
from lab.temporal_server import TemporalServer, running_temporal
from replace_etcd.models.record import Record
from replace_etcd.models.request import ReplacementRequest
from tests.robustness.explorer.schedule import Moment, Params
from tests.robustness.proxy import Call, Proxy

WORKFLOW_ID = f"replace-etcd.{NAMESPACE}"
QUEUE = "replace-etcd"
RECORD = "kube-etcd-replacement"
WORKERS = 2
LOOK_AFTER = 0.5
ROOT = Path(__file__).resolve().parents[3]
PATIENCE = {
    "REPLACE_ETCD_FAILURE_PROBE_SECONDS": "3",
    "REPLACE_ETCD_JANITOR_INTERVAL_SECONDS": "5",
    "REPLACE_ETCD_LOG_FORMAT": "json",
}
LIMITS = {"drain": "PT60S", "rejoin": "PT120S", "hold": "PT30M"}


@dataclass
class Ear:
    """Hears every request of the workers, and knows whose it is."""

    heard: Counter[str] = field(default_factory=Counter)
    commands: list[str] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _waking: set[asyncio.Task[None]] = field(default_factory=set)

    def hear(self, call: Call) -> None:
        """Take note of one request."""
        self.heard[call.activity] += 1
        if call.is_exec:
            self.commands.append(call.path)
        waking = asyncio.create_task(self._wake())
        self._waking.add(waking)
        waking.add_done_callback(self._waking.discard)

    async def until(self, step: str, request: int) -> None:
        """Wait until a step makes its n-th request."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.heard[step] >= request)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Workers:
    """Two workers that are kept running, unless somebody wants one to be gone."""

    def __init__(self, processes: list[Component]) -> None:
        self.processes = processes
        self.gone: set[int] = set()

    async def keep(self) -> None:
        """Start again what has ended, for ever."""
        while True:
            for number, process in enumerate(self.processes):
                if number not in self.gone:
                    await process.start()
            await asyncio.sleep(LOOK_AFTER)

    async def stop(self) -> None:
        """End them."""
        await asyncio.gather(*(process.kill() for process in self.processes))


class Stage:
    """Everything that faults act on and a judge looks at; it starts replacements and says where things stand."""

    def __init__(
        self,
        lab: LabClient,
        kube: KubeClient,
        temporal: TemporalServer,
        client: Client,
        proxy: Proxy,
        workers: Workers,
    ) -> None:
        self.lab = lab
        self.kube = kube
        self.temporal = temporal
        self.client = client
        self.proxy = proxy
        self.workers = workers
        self.ear = Ear()
        self.replica = ""
        self.request: Params = {}
        self.proxy.watchers.append(self.ear.hear)

    async def reach(self, moment: Moment) -> None:
        """Wait for a moment of a schedule."""
        if moment.step is not None:
            await self.ear.until(moment.step, moment.request)
        await asyncio.sleep(moment.delay)

    async def start(self, workflow_id: str = WORKFLOW_ID) -> str:
        """Start a replacement; returns the run's id."""
        wanted = {"user_cluster": NAMESPACE, "limits": LIMITS, **self.request}
        ReplacementRequest.model_validate(wanted)
        handle = await self.client.start_workflow(
            "ReplaceEtcdReplica", wanted, id=workflow_id, task_queue=QUEUE
        )
        return str(handle.first_execution_run_id)

    async def record(self) -> Record | None:
        """The record, as it stands."""
        found = await self.kube.find("configmaps", RECORD, NAMESPACE)
        return Record.from_data(found["data"]) if found else None


@asynccontextmanager
async def stage_of(options: LabOptions, directory: Path) -> AsyncIterator[Stage]:
    """Set the stage; everything ends with the block."""
    async with AsyncExitStack() as stack:
        temporal = await stack.enter_async_context(
            running_temporal(directory, database=directory / "temporal.db")
        )
        lab = await stack.enter_async_context(running_lab(options))
        access = read_kubeconfig(lab.kubeconfig)
        proxy = await stack.enter_async_context(Proxy(access))
        kube = await stack.enter_async_context(KubeClient(access, timeout=5.0))
        workers = Workers([_worker(number, proxy, temporal, directory) for number in range(WORKERS)])
        stack.push_async_callback(workers.stop)
        keeping = asyncio.create_task(workers.keep())
        stack.callback(keeping.cancel)
        client = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
        yield Stage(lab, kube, temporal, client, proxy, workers)


def _worker(number: int, proxy: Proxy, temporal: TemporalServer, directory: Path) -> Component:
    environment = {
        **PATIENCE,
        "TEMPORAL_ADDRESS": temporal.address,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    command = [sys.executable, "-m", "tests.robustness.worker_process", proxy.url]
    return Component(f"worker-{number}", command, directory=directory, environment=environment)
