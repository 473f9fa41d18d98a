"""In the end every fault is lifted: what an actor does, it takes back, also when it is broken off."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from lab.fixture.names import REPLICAS
from lab.options import LabOptions
from tests.robustness.explorer.actors import actors
from tests.robustness.explorer.schedule import Fault
from tests.robustness.explorer.stage import Stage, stage_of

WITHIN = 120.0
LONG = 600.0
FAULTS = [
    Fault("worker-kill", LONG, {"worker": 0}),
    Fault("worker-pause", LONG, {"worker": 1}),
    Fault("temporal-pause", LONG),
    Fault("api-pause", LONG),
    Fault("agent-freeze", LONG, {"node": "node-2"}),
    Fault("survivor-pause", LONG, {"replica": REPLICAS[0]}),
    Fault("survivor-cut", LONG, {"replica": REPLICAS[0]}),
    Fault("partition", LONG, {"one": REPLICAS[0], "other": REPLICAS[2]}),
    Fault("wire-errors", LONG, {"chance": 1.0, "status": 500}),
    Fault("late-request", LONG, {"step": "remove_member", "nth": 1}),
]
CRASHES = [Fault("temporal-kill", LONG), Fault("api-kill", LONG), Fault("workers-kill", LONG)]


@pytest.mark.needs("namespaces")
async def test_faults_that_are_broken_off_are_lifted(tmp_path: Path) -> None:
    async with stage_of(LabOptions(), tmp_path) as stage, asyncio.timeout(WITHIN * 2):
        members = await stage.lab.members()
        await break_off(stage, FAULTS)
        await break_off(stage, CRASHES)
        await whole(stage, len(members))
        assert all(not rules for rules in stage.proxy.rules.values())


async def break_off(stage: Stage, faults: list[Fault]) -> None:
    """All at once, and stopped as soon as each has begun."""
    tasks = [asyncio.create_task(actors()[fault.kind](stage, fault)) for fault in faults]
    _, pending = await asyncio.wait(tasks, timeout=1.0)
    assert len(pending) == len(tasks), "each of them lasts"
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, asyncio.CancelledError)


async def whole(stage: Stage, members: int) -> None:
    """Temporal, the API server, the workers and every member answer; every node agent runs."""
    await stage.client.workflow_service.get_system_info(GetSystemInfoRequest(), retry=True)
    status = await stage.lab.status()
    assert all(status.agents.values())
    while sum(member.healthy for member in (await stage.lab.status()).members) < members:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    while not all(process.running for process in stage.workers.processes):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
