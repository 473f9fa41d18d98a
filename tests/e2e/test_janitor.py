"""Runs that are ended from outside: what they took away comes back, and no run that lives is ever touched."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode

from lab.options import LabOptions
from lab.temporal_server import running_temporal
from replace_etcd.cluster import CONFIG_MAP, NODE, PDB
from replace_etcd.models.record import Record
from replace_etcd.models.restoring import Restored, RestoreResult, Verdict
from replace_etcd.models.result import Outcome, ReplacementResult
from tests.e2e.conftest import (
    NAMESPACE,
    WITHIN,
    Scene,
    as_before,
    nothing_lost,
    replaced,
    scene_of,
    worker_of,
)
from tests.e2e.test_never_worse import BLOCKING, nothing_left_behind
from tests.resets import FIRST_TASK, reset_to

TYPE = "RestoreInterruptedReplacement"
CHILD = f"restore-etcd.{NAMESPACE}"
EVERY_SECOND = {"REPLACE_ETCD_JANITOR_INTERVAL_SECONDS": "1"}
NO_SCHEDULE = {"REPLACE_ETCD_JANITOR_INTERVAL_SECONDS": "0"}
Run = WorkflowHandle[Any, ReplacementResult]

pytestmark = pytest.mark.timeout(600)  # a lab, a server, and a replacement or two that goes on to its end


async def draining(scene: Scene) -> Run:
    """A replacement in the middle of its drain, which somebody's budget blocks."""
    await scene.cluster.create(PDB, BLOCKING, "user-cluster-2")
    await scene.destroy()
    run = await scene.start()
    await scene.reach(run, "drain_node")
    return run


async def sweeps(client: Client) -> AsyncIterator[Restored]:
    """What the sweeps that end from now on say of the one record."""
    seen = set(await ended_sweeps(client))
    while True:
        for workflow_id in await ended_sweeps(client):
            if workflow_id not in seen:
                seen.add(workflow_id)
                for record in (await sweep(client, workflow_id)).records:
                    yield record
        await asyncio.sleep(0.2)


async def ended_sweeps(client: Client) -> list[str]:
    ended = client.list_workflows(f"WorkflowType = '{TYPE}' AND ExecutionStatus = 'Completed'")
    return [listed.id async for listed in ended if listed.id != CHILD]


async def sweep(client: Client, workflow_id: str) -> RestoreResult:
    handle = client.get_workflow_handle(workflow_id, result_type=RestoreResult)
    result: RestoreResult = await handle.result()
    return result


async def next_verdicts(client: Client, count: int) -> list[Verdict]:
    """What the next sweeps say."""
    found: list[Verdict] = []
    async with asyncio.timeout(WITHIN):
        async for record in sweeps(client):
            found.append(record.verdict)
            if len(found) >= count:
                break
    return found


async def by_the_schedule(client: Client) -> Restored:
    """The restoration that the Schedule has begun, once it has ended."""
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                (record,) = (await sweep(client, CHILD)).records
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                await asyncio.sleep(0.2)
            else:
                return record


async def restore(client: Client, workflow_id: str = CHILD, **fields: str) -> Restored:
    """A restoration that somebody starts."""
    handle = await client.start_workflow(
        TYPE,
        {"user_cluster": NAMESPACE, **fields},
        id=workflow_id,
        task_queue="replace-etcd",
        result_type=RestoreResult,
    )
    async with asyncio.timeout(WITHIN):
        result: RestoreResult = await handle.result()
    (record,) = result.records
    return record


async def the_record(scene: Scene) -> Record:
    config_map = await scene.cluster.get(CONFIG_MAP, "kube-etcd-replacement", NAMESPACE)
    assert config_map is not None
    return Record.from_data(config_map["data"])


async def is_mid_way(scene: Scene) -> bool:
    """The node of the failed replica is cordoned."""
    nodes = await scene.cluster.find(NODE)
    return any(node["spec"].get("unschedulable") for node in nodes)


async def reset(scene: Scene, run: Run) -> Run:
    """To the beginning, as `temporal workflow reset` does it."""
    again = await reset_to(scene.client, run.id, FIRST_TASK)
    return scene.client.get_workflow_handle(run.id, run_id=again, result_type=ReplacementResult)


async def test_a_run_terminated_during_the_drain_is_rolled_back_by_the_schedule(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path, **EVERY_SECOND) as scene:
        run = await draining(scene)
        await run.terminate("by mistake")
        restored = await by_the_schedule(scene.client)
        await nothing_left_behind(scene)
        report = await scene.judgement()
    assert restored.outcome is Outcome.INTERRUPTED, restored
    assert (restored.phase, restored.left) == ("draining", [])
    assert restored.first_run_id == run.first_execution_run_id
    nothing_lost(report)
    as_before(report)


async def test_a_run_terminated_after_the_removal_rests_safely_and_is_resumed(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path, **EVERY_SECOND) as scene:
        await scene.destroy()
        run = await scene.start()
        await scene.reach(run, "add_member")
        await run.terminate("by mistake")
        restored = await by_the_schedule(scene.client)
        record = await the_record(scene)
        resting = await scene.lab.report()
        result = await scene.result(await scene.start())
        report = await scene.judgement()
    assert restored.outcome is Outcome.INTERRUPTED, restored
    assert (record.outcome, record.reason) == (Outcome.INTERRUPTED, restored.reason)
    assert resting.pdb_restored, resting.after
    assert resting.nodes_restored, resting.after
    assert resting.after.initial_cluster_state == "existing"
    assert resting.after.update_strategy == {"type": "OnDelete"}
    replaced(result, report)


async def test_a_run_that_lives_or_was_reset_is_not_touched(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path, **EVERY_SECOND) as scene:
        run = await draining(scene)
        assert set(await next_verdicts(scene.client, 3)) == {Verdict.RUNNING}
        again = await reset(scene, run)
        first = scene.client.get_workflow_handle(run.id, run_id=run.first_execution_run_id)
        assert (await first.describe()).status is WorkflowExecutionStatus.TERMINATED
        await scene.reach(again, "drain_node")
        assert set(await next_verdicts(scene.client, 3)) == {Verdict.RUNNING}
        assert await is_mid_way(scene)
        await scene.cluster.delete(
            PDB,
            "blocks-the-drain",
            "user-cluster-2",
            uid=(await scene.cluster.get(PDB, "blocks-the-drain", "user-cluster-2"))["metadata"]["uid"],  # type: ignore[index]
        )
        result = await scene.result(again)
        report = await scene.judgement()
    replaced(result, report)


async def test_the_record_of_another_temporal_is_left_until_a_person_says_why_not(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path, **NO_SCHEDULE) as scene:
        run = await draining(scene)
        await run.terminate("its server is about to go")
        before = await the_record(scene)
        async with elsewhere(scene, tmp_path) as other:
            assert set(await next_verdicts(other, 3)) == {Verdict.UNKNOWN}
            assert await is_mid_way(scene)
            assert (await the_record(scene)).chain == before.chain
            assert (await restore(other)).outcome is None
            restored = await restore(other, take_over="that server is gone", requested_by="ann")
            await nothing_left_behind(scene)
        report = await scene.judgement()
    assert restored.outcome is Outcome.INTERRUPTED, restored
    assert "that server is gone (ann)" in restored.reason
    nothing_lost(report)
    as_before(report)


@asynccontextmanager
async def elsewhere(scene: Scene, directory: Path) -> AsyncIterator[Client]:
    """A second Temporal with a worker on the same admin cluster."""
    folder = directory / "elsewhere"
    folder.mkdir()
    async with running_temporal(folder) as temporal:
        worker = worker_of(temporal, scene.lab, folder, EVERY_SECOND)
        await worker.start()
        try:
            yield await Client.connect(temporal.address, data_converter=pydantic_data_converter)
        finally:
            await worker.stop(grace=5.0)


async def test_of_two_janitors_at_once_one_puts_everything_back(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path, **NO_SCHEDULE) as scene:
        run = await draining(scene)
        await run.terminate("by mistake")
        both = await asyncio.gather(
            *(restore(scene.client, f"{CHILD}.{number}", requested_by="a test") for number in (1, 2))
        )
        await nothing_left_behind(scene)
        report = await scene.judgement()
    assert sorted(one.outcome or "" for one in both) == ["", "interrupted"], both
    nothing_lost(report)
    as_before(report)
