"""A replacement that was left, or ended from outside, is started again, and finishes what was begun.

Flag, strategy and budget come back as they were at the very beginning, which only the record can tell.
"""

from pathlib import Path

import pytest

from replace_etcd.cluster import NODE, PDB, POD
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome
from tests.attacks.meddling import (
    ANOTHER,
    NODE_OF_FAILED,
    ROLLING,
    asked,
    etcd_35,
    into_the_drain,
    into_the_window,
    let_it_drain,
    let_it_start,
    nothing_left,
    record_of,
    stateful_set,
)
from tests.e2e.conftest import NAMESPACE, REAL, Scene, replaced, scene_of
from tests.lab.nodes.waiting import until

pytestmark = [pytest.mark.timeout(500), pytest.mark.needs("namespaces", "etcd-3.5")]
SOON = {"rejoin": "PT5S"}
KUBERNETES = pytest.mark.parametrize("kubernetes", ["simulated", REAL])


async def rests_safely(scene: Scene) -> None:
    """The budget is back, the flag `existing` and `OnDelete` stay, nothing of ours is on the node."""
    budget = await scene.cluster.get(PDB, "kube-etcd-pdb", NAMESPACE)
    assert budget is not None
    assert budget["spec"]["minAvailable"] == 2
    assert not budget["metadata"].get("annotations")
    spec = (await stateful_set(scene))["spec"]
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert "--initial-cluster-state=existing" in spec["template"]["spec"]["containers"][0]["args"]
    assert await scene.cluster.get(POD, "etcd-utility-1", NAMESPACE) is None
    node = await scene.cluster.get(NODE, NODE_OF_FAILED)
    assert node is not None
    assert {k for k in node["metadata"]["annotations"] if k.startswith("replace-etcd/")} == {ANOTHER}


async def _a_learner_serves(scene: Scene) -> bool:
    members = (await scene.lab.status()).members
    return any(member.learner and member.started and member.healthy for member in members)


@KUBERNETES
async def test_one_that_was_abandoned_is_finished_by_the_next(tmp_path: Path, kubernetes: str) -> None:
    async with scene_of(etcd_35(kubernetes), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_window(scene, limits=SOON)
        question = await asked(scene, handle)
        assert (question.phase, question.choices) == (Phase.HELD, ["resolve retry", "resolve abandon"])
        await rests_safely(scene)
        await handle.execute_update("resolve", {"choice": "abandon", "by": "ann", "reason": "tomorrow"})
        left = await scene.result(handle)
        assert left.outcome is Outcome.LEFT_INCOMPLETE, left.reason
        assert "abandoned by ann: tomorrow" in left.reason
        await rests_safely(scene)
        record = await record_of(scene)
        assert (record.outcome, record.new_member_id) == (Outcome.LEFT_INCOMPLETE, left.new_member_id)
        await let_it_start(scene)
        await until(lambda: _a_learner_serves(scene), within=240)
        result = await scene.result(await scene.start())
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)
    assert result.resumed_from is Phase.ADDING
    assert result.new_member_id == left.new_member_id, "nothing that joined is wiped"
    assert report.after.update_strategy == ROLLING


@pytest.mark.parametrize("new_member", ["has not started", "is a learner that serves"])
async def test_a_hold_goes_on_when_somebody_says_retry(tmp_path: Path, new_member: str) -> None:
    """Nobody promotes a learner meanwhile; it gives its status, and refuses to list the members."""
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_window(scene, limits=SOON)
        await asked(scene, handle)
        await let_it_start(scene)
        if new_member == "is a learner that serves":
            await until(lambda: _a_learner_serves(scene), within=240)
        await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})
        result = await scene.result(handle)
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)


async def test_one_that_was_terminated_after_the_removal_is_finished_by_the_next(tmp_path: Path) -> None:
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_window(scene)
        removed = (await record_of(scene)).member_id
        await handle.terminate("a test")
        await let_it_start(scene)
        again = await scene.start()
        result = await scene.result(again)
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)
    assert result.resumed_from in (Phase.ADDING, Phase.RESTORING)
    assert result.old_member_id in (removed, result.new_member_id)
    claimed = next(step for step in result.steps if step.name == "claim_replacement_record")
    assert "taken over from" in claimed.note


@KUBERNETES
async def test_one_that_was_terminated_before_the_removal_is_finished_by_the_next(
    tmp_path: Path, kubernetes: str
) -> None:
    """What it left is in the way of nobody: its budget, its cordon, its utility Pod, its edit."""
    async with scene_of(etcd_35(kubernetes), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_drain(scene)
        failed = (await record_of(scene)).member_id
        await handle.terminate("a test")
        await let_it_drain(scene)
        result = await scene.result(await scene.start())
        assert result.outcome is Outcome.REPLACED, result.reason
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)
    assert (result.resumed_from, result.old_member_id) == (Phase.PROTECTING, failed)
