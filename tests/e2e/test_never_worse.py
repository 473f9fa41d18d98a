"""Steps that fail, workers that die, people who stop it: the user cluster is never worse off than before."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from lab.client import LabError
from lab.options import LabOptions
from replace_etcd.cluster import CONFIG_MAP, NODE, PDB, POD
from replace_etcd.models.record import Record
from replace_etcd.models.result import Outcome, ReplacementResult
from tests.e2e.conftest import NAMESPACE, Scene, as_before, nothing_lost, replaced, scene_of
from tests.resets import reset_to, tasks_that_scheduled

BACK_UP = "back_up_pod_disruption_budget"
BLOCKING = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "blocks-the-drain", "namespace": "user-cluster-2"},
    "spec": {"maxUnavailable": 0, "selector": {}},
}


async def nothing_left_behind(scene: Scene) -> None:
    """No record, no utility Pod, no holder's annotation; the failed pod carries the flag that it had."""
    assert await scene.cluster.get(CONFIG_MAP, "kube-etcd-replacement", NAMESPACE) is None
    assert await scene.cluster.get(POD, "etcd-utility-1", NAMESPACE) is None
    for node in await scene.cluster.find(NODE):
        assert not [
            key for key in node["metadata"].get("annotations") or {} if key.startswith("replace-etcd/")
        ]
    pod = await scene.cluster.get(POD, "kube-etcd-1", NAMESPACE)
    assert pod is not None
    assert "--initial-cluster-state=new" in pod["spec"]["containers"][0]["args"]


async def test_a_drain_that_is_blocked_is_rolled_back(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path) as scene:
        await scene.cluster.create(PDB, BLOCKING, "user-cluster-2")
        await scene.destroy()
        result = await scene.result(await scene.start(limits={"drain": "PT8S"}))
        await nothing_left_behind(scene)
        report = await scene.judgement()
    assert result.outcome is Outcome.ROLLED_BACK, result.reason
    assert "drain_node" in result.reason
    nothing_lost(report)
    as_before(report)
    assert {member.id for member in report.members} == {member.id for member in result.plan.members}  # type: ignore[union-attr]


async def test_a_cancel_during_the_drain_puts_everything_back(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path) as scene:
        await scene.cluster.create(PDB, BLOCKING, "user-cluster-2")
        await scene.destroy()
        handle = await scene.start()
        await scene.reach(handle, "drain_node")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
        assert (await scene.progress(handle)).outcome is Outcome.CANCELLED
        await nothing_left_behind(scene)
        report = await scene.judgement()
    nothing_lost(report)
    as_before(report)


async def test_a_run_that_is_stopped_where_it_has_forgotten_what_it_began_puts_everything_back(
    tmp_path: Path,
) -> None:
    """Reset, and cancelled before its next task: it knows of the record, and of none of the steps behind it."""
    async with scene_of(LabOptions(), tmp_path) as scene:
        await scene.cluster.create(PDB, BLOCKING, "user-cluster-2")
        await scene.destroy()
        handle = await scene.start()
        await scene.reach(handle, "drain_node")
        await scene.worker.stop(grace=5.0)
        (point,) = await tasks_that_scheduled(handle, BACK_UP)
        run_id = await reset_to(scene.client, handle.id, point)
        again = scene.client.get_workflow_handle(handle.id, run_id=run_id, result_type=ReplacementResult)
        await again.cancel()
        await scene.worker.start()
        with pytest.raises(WorkflowFailureError) as caught:
            await again.result()
        assert isinstance(caught.value.cause, CancelledError)
        assert await tasks_that_scheduled(again, BACK_UP) == [], "it was to be stopped before"
        await nothing_left_behind(scene)
        report = await scene.judgement()
    nothing_lost(report)
    as_before(report)


async def test_a_worker_killed_after_the_removal_is_succeeded_by_another(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path) as scene:
        await scene.destroy()
        handle = await scene.start()
        await scene.reach(handle, "restart_replaced_pod")
        await scene.worker.kill()
        await scene.worker.start()
        result = await scene.result(handle)
        report = await scene.judgement()
    replaced(result, report)


async def test_a_new_member_that_cannot_rejoin_leaves_existing_and_the_reason(tmp_path: Path) -> None:
    """Past the removal the flag must not go back; budget and node do, and the record says why."""
    async with scene_of(LabOptions(), tmp_path) as scene:
        await scene.destroy()
        handle = await scene.start(limits={"rejoin": "PT15S", "hold": "PT5S"})
        await scene.reach(handle, "delete_utility_pod")  # once it is added it joins within a second
        cut = asyncio.create_task(_keep_cut_off(scene, "kube-etcd-1"))
        result = await scene.result(handle)
        cut.cancel()
        config_map = await scene.cluster.get(CONFIG_MAP, "kube-etcd-replacement", NAMESPACE)
        assert config_map is not None
        record = Record.from_data(config_map["data"])
        report = await scene.judgement()
    assert result.outcome is Outcome.LEFT_INCOMPLETE, result.reason
    assert record.outcome is Outcome.LEFT_INCOMPLETE
    assert "existing" in record.reason
    nothing_lost(report)
    assert report.pdb_restored
    assert report.nodes_restored
    assert report.after.initial_cluster_state == "existing"
    assert report.after.update_strategy == {"type": "OnDelete"}


async def _keep_cut_off(scene: Scene, pod: str) -> None:
    """A pod that is re-created has a new link: cut each one."""
    while True:
        with suppress(LabError):  # there is no such pod at this moment
            await scene.lab.set_link(pod, up=False)
        await asyncio.sleep(0.1)
