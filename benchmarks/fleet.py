"""A fleet: many user clusters at once by one worker, as when a node dies that one member of each was on.

The API server is the simulated one and every request is real HTTP; etcd is the model that the fault matrix uses
(tests/robustness), so that hundreds fit on one machine, and real where a size says so (`10real`). Worker, Temporal, API
server, and this process, which plays every kubelet, share the machine: what is measured is a lower bound of what a
worker does on its own cores.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from benchmarks.models import Machine, Model, Spread, machine, save, spread
from benchmarks.processes import cpu_seconds, memory_mib
from benchmarks.say import say
from lab.processes import Component
from lab.temporal_server import TemporalServer
from replace_etcd import replacements
from replace_etcd.cli.demo.worker import worker_process
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.result import Outcome
from tests.robustness.nodes import Cluster, ModelCluster
from tests.robustness.proxy import Call
from tests.robustness.real_etcd import RealCluster
from tests.robustness.room import MADE_AT_ONCE, Room, a_room

QUEUE = "benchmarks"
REAL = "real"
SAMPLE = 10
READY_WITHIN = 60.0
LOOK_EVERY = 0.2


class Fleet(Model):
    """So many at once."""

    size: int
    etcd: str = "model"
    outcomes: dict[str, int]
    wall_seconds: float
    seconds: Spread
    """Of each replacement, from its start to its end."""
    worker_cpu_seconds: float
    worker_idle_mib: float
    worker_peak_mib: float
    requests: int
    temporal_share: float
    """Of a replacement's time, the median of some: what is in no activity (tasks, queues, the server)."""


class Fleets(Model):
    """One after the other, each in a room of its own."""

    machine: Machine
    settings: dict[str, float]
    fleets: list[Fleet]


class Unwritten(RealCluster):
    """One that only the worker asks."""

    def write(self) -> None:
        """Nobody writes: it is the worker that is measured."""


async def measure(sizes: list[str], settings: dict[str, float]) -> Fleets:
    """Every size: `10`, or `10real` with real etcd."""
    here, found = machine(), []
    for wish in sizes:
        size, real = int(wish.removesuffix(REAL)), wish.endswith(REAL)
        kind: type[Cluster] = Unwritten if real else ModelCluster
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            async with a_room(Path(name), Room[Cluster], kind) as (room, temporal):
                fleet = await _fleet(size, room, temporal, Path(name), settings)
                found.append(fleet.model_copy(update={"etcd": "real"}) if real else fleet)
        say(_line(found[-1]))
    return Fleets(machine=here, settings=settings, fleets=found)


async def _fleet(
    size: int, room: Room[Cluster], temporal: TemporalServer, directory: Path, settings: dict[str, float]
) -> Fleet:
    made_at_once = asyncio.Semaphore(MADE_AT_ONCE)

    async def failed() -> str:
        async with made_at_once:
            cluster = await room.make("OrderedReady")
            await room.fail(cluster)
            return cluster.namespace

    names = await asyncio.gather(*(failed() for _ in range(size)))
    say(f"{size} user clusters, each with a failed member")
    counted: Counter[str] = Counter()

    def count(call: Call) -> None:
        counted[call.namespace] += 1

    room.proxy.watchers.append(count)
    made = worker_process(directory, temporal.address, _kubeconfig(directory, room), QUEUE, **settings)
    await made.start()
    try:
        return await _replaced(names, room, made, counted)
    finally:
        await made.stop(grace=30)


async def _replaced(
    names: Sequence[str], room: Room[Cluster], made: Component, counted: Counter[str]
) -> Fleet:
    client, pid = room.temporal, made.pid
    assert pid is not None, made.last_words()  # noqa: S101
    async with asyncio.timeout(READY_WITHIN):
        while not await replacements.has_worker(client, QUEUE):  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(LOOK_EVERY)
    idle, cpu, began = memory_mib(pid), cpu_seconds(pid), time.monotonic()
    requests = [ReplacementRequest(user_cluster=name) for name in names]
    runs = await asyncio.gather(*(replacements.start(client, request, QUEUE) for request in requests))
    endings = await asyncio.gather(*(replacements.ending(run) for run in runs))
    wall = time.monotonic() - began
    for ending in endings:
        if ending.outcome != Outcome.REPLACED:
            say(f"{ending.outcome}: {ending.reason}")
    seconds = await asyncio.gather(*(_seconds(run) for run in runs))
    shares = await asyncio.gather(*(_temporal_share(run) for run in runs[:: max(1, len(runs) // SAMPLE)]))
    return Fleet(
        size=len(names),
        outcomes=dict(Counter(str(ending.outcome) for ending in endings)),
        wall_seconds=round(wall, 2),
        seconds=spread(seconds),
        worker_cpu_seconds=round(cpu_seconds(pid) - cpu, 2),
        worker_idle_mib=round(idle, 1),
        worker_peak_mib=round(memory_mib(pid, "VmHWM"), 1),
        requests=sum(counted[name] for name in names),
        temporal_share=spread(shares).median,
    )


async def _seconds(run: replacements.Handle) -> float:
    described = await run.describe()
    ended = described.close_time or described.start_time
    return (ended - described.start_time).total_seconds()


async def _temporal_share(run: replacements.Handle) -> float:
    """What is in no activity, of the time from the first event to the last."""
    history = await run.fetch_history()
    at = {event.event_id: _moment(event) for event in history.events}
    within = sum(
        at[event.event_id] - at[event.activity_task_completed_event_attributes.started_event_id]
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    )
    first, last = _moment(history.events[0]), _moment(history.events[-1])
    return 1 - within / (last - first)


def _moment(event: HistoryEvent) -> float:
    return float(event.event_time.ToNanoseconds()) / 1e9


def _kubeconfig(directory: Path, room: Room[Cluster]) -> Path:
    """The way to the proxy, which counts; it has the certificate."""
    file = directory / "kubeconfig"
    cluster = {"name": "room", "cluster": {"server": room.proxy.address("worker")}}
    context = {"name": "room", "context": {"cluster": "room", "user": "nobody"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "nobody", "user": {}}],
        "current-context": "room",
    }
    file.write_text(yaml.safe_dump(config))
    return file


def _line(fleet: Fleet) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in fleet.outcomes.items())
    each = fleet.seconds
    return (
        f"{fleet.size} at once, {fleet.etcd} etcd: {outcomes} in {fleet.wall_seconds:.0f} s;"
        f" each {each.median:.0f} s ({each.minimum:.0f} to {each.maximum:.0f}),"
        f" worker {fleet.worker_cpu_seconds:.0f} s CPU, {fleet.worker_idle_mib:.0f} to {fleet.worker_peak_mib:.0f} MiB,"
        f" {fleet.requests / fleet.size:.0f} requests each, Temporal {fleet.temporal_share:.0%}"
    )


def run(sizes: list[str], qps: float, activities: int) -> None:
    """Measure and write it down."""
    settings = {"api_qps": qps, "max_concurrent_activities": activities, "janitor_interval_seconds": 0}
    say(f"written: {save('fleet', asyncio.run(measure(sizes, settings)))}")
