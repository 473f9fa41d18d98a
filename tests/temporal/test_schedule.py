"""The Schedule of the janitor: there once, as the settings say, whoever starts and however many at once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import (
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from replace_etcd.models.restoring import WORKFLOW_TYPE
from replace_etcd.temporal import SCHEDULE, see_to_schedule
from tests.temporal.conftest import Temporal

QUEUE = "replace-etcd"


@workflow.defn(name=WORKFLOW_TYPE)
class Sweeping:
    """Stands for the janitor."""

    @workflow.run
    async def run(self, submitted: Any = None) -> bool:
        """Tell whether it was started without an input, as for a sweep."""
        return submitted is None


async def described(temporal: Temporal) -> ScheduleDescription:
    return await temporal.client.get_schedule_handle(SCHEDULE).describe()


async def is_there(temporal: Temporal) -> bool:
    try:
        await described(temporal)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def test_it_starts_sweeps(temporal: Temporal) -> None:
    runner = UnsandboxedWorkflowRunner()
    async with Worker(temporal.client, task_queue=QUEUE, workflows=[Sweeping], workflow_runner=runner):
        assert await see_to_schedule(temporal.client, QUEUE, 1) is None
        async with asyncio.timeout(180):
            while not (recent := (await described(temporal)).info.recent_actions):  # noqa: ASYNC110 - only the server tells
                await asyncio.sleep(0.1)
            started = recent[0].action
            assert isinstance(started, ScheduleActionExecutionStartWorkflow)
            handle = temporal.client.get_workflow_handle(started.workflow_id, result_type=bool)
            assert await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED


async def test_it_skips_overlaps_and_does_not_catch_up(temporal: Temporal) -> None:
    assert await see_to_schedule(temporal.client, QUEUE, 60) is None
    found = (await described(temporal)).schedule
    assert isinstance(found.action, ScheduleActionStartWorkflow)
    assert (found.action.workflow, found.action.task_queue) == (WORKFLOW_TYPE, QUEUE)
    assert [interval.every for interval in found.spec.intervals] == [timedelta(seconds=60)]
    assert found.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert found.policy.catchup_window == timedelta(seconds=10)


async def test_workers_that_start_at_once_agree(temporal: Temporal) -> None:
    at_once = (see_to_schedule(temporal.client, QUEUE, 60) for _ in range(8))
    assert await asyncio.gather(*at_once) == [None] * 8


async def test_a_new_interval_is_written_and_a_pause_is_kept(temporal: Temporal) -> None:
    await see_to_schedule(temporal.client, QUEUE, 60)
    await temporal.client.get_schedule_handle(SCHEDULE).pause(note="maintenance")
    assert await see_to_schedule(temporal.client, QUEUE, 30) is None
    found = (await described(temporal)).schedule
    assert [interval.every for interval in found.spec.intervals] == [timedelta(seconds=30)]
    assert found.state.paused
    assert found.state.note == "maintenance"


async def test_zero_means_none(temporal: Temporal) -> None:
    assert await see_to_schedule(temporal.client, QUEUE, 0) is None
    await see_to_schedule(temporal.client, QUEUE, 60)
    assert await see_to_schedule(temporal.client, QUEUE, 0) is None
    assert not await is_there(temporal)


async def test_the_schedule_of_another_admin_cluster_is_left(temporal: Temporal) -> None:
    await see_to_schedule(temporal.client, "another-queue", 60)
    problem = await see_to_schedule(temporal.client, QUEUE, 60)
    assert problem is not None
    assert "another-queue" in problem
    assert await see_to_schedule(temporal.client, QUEUE, 0) is None
    assert await is_there(temporal)


async def test_who_may_not_write_it_is_told_so(temporal: Temporal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dev server has no rights to withhold: the refusal is the one that a server with them gives."""

    async def refuse(*_: object, **__: object) -> None:
        raise RPCError("Request unauthorized.", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(temporal.client.workflow_service, "create_schedule", refuse)
    problem = await see_to_schedule(temporal.client, QUEUE, 60)
    assert problem is not None
    assert "Request unauthorized." in problem
