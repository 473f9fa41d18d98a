"""Attacks with objects: what a replacement stands on is deleted in the middle, before the removal and after it.

Each ends, and says why: rolled back, held and left incomplete, or replaced all the same.
"""

from pathlib import Path

import pytest

from lab.models import LabReport
from replace_etcd.cluster import CLAIM, CONFIG_MAP, NODE, PDB
from replace_etcd.cluster import NAMESPACE as NAMESPACES
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome
from tests.attacks.meddling import (
    NODE_OF_FAILED,
    RECORD,
    asked,
    etcd_35,
    flag_of,
    into_the_drain,
    into_the_window,
    let_it_drain,
    let_it_start,
    nothing_left,
    stateful_set,
)
from tests.e2e.conftest import NAMESPACE, Scene, as_before, nothing_lost, replaced, scene_of

pytestmark = [pytest.mark.timeout(500), pytest.mark.needs("namespaces", "etcd-3.5")]

OBJECTS = {
    "budget": (PDB, "kube-etcd-pdb", NAMESPACE),
    "record": (CONFIG_MAP, RECORD, NAMESPACE),
    "claim": (CLAIM, "data-kube-etcd-1", NAMESPACE),
    "node": (NODE, NODE_OF_FAILED, None),
    "namespace": (NAMESPACES, NAMESPACE, None),
}


async def delete(scene: Scene, what: str) -> None:
    """Somebody deletes it; what holds it back (a finalizer) is not waited for."""
    kind, name, namespace = OBJECTS[what]
    found = await scene.cluster.get(kind, name, namespace)
    assert found is not None
    await scene.cluster.delete(kind, name, namespace, uid=found["metadata"]["uid"])


@pytest.mark.parametrize("what", ["budget", "record"])
async def test_what_the_product_itself_keeps_is_made_again_after_the_removal(
    tmp_path: Path, what: str
) -> None:
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_window(scene)
        await delete(scene, what)
        await let_it_start(scene)
        result = await scene.result(handle)
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)


async def test_a_temporary_budget_deleted_before_the_removal_comes_back_as_the_original(
    tmp_path: Path,
) -> None:
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_drain(scene)
        await delete(scene, "budget")
        await let_it_drain(scene)
        result = await scene.result(handle)
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)


@pytest.mark.parametrize(
    ("what", "why"), [("record", "is gone"), ("claim", "claim data-kube-etcd-1"), ("node", "node node-2")]
)
async def test_what_it_stands_on_goes_before_the_removal_and_it_rolls_back(
    tmp_path: Path, what: str, why: str
) -> None:
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_drain(scene)
        await delete(scene, what)
        await let_it_drain(scene)
        result = await scene.result(handle)
        assert result.outcome is Outcome.ROLLED_BACK, result.reason
        assert why in result.reason
        await nothing_left(scene)
        report = await scene.judgement()
    nothing_lost(report)
    as_before(report)
    assert result.plan is not None
    assert {member.id for member in report.members} == {member.id for member in result.plan.members}


@pytest.mark.parametrize("what", ["claim", "node"])
async def test_what_the_new_member_stands_on_goes_after_the_removal_and_it_asks(
    tmp_path: Path, what: str
) -> None:
    """Nobody can go on: the survivors serve, protected, with the flag that harms no member with data."""
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_window(scene, limits={"rejoin": "PT5S"})
        await delete(scene, what)
        if what != "node":
            await let_it_start(scene)
        question = await asked(scene, handle)
        assert question.phase is Phase.HELD
        await handle.execute_update("resolve", {"choice": "abandon", "by": "ann", "reason": f"no {what}"})
        result = await scene.result(handle)
        assert result.outcome is Outcome.LEFT_INCOMPLETE, result.reason
        assert f"abandoned by ann: no {what}" in result.reason
        assert flag_of(await stateful_set(scene)) == "existing"
        report = await scene.judgement()
    rests(report)


def rests(report: LabReport) -> None:
    """The safe resting state."""
    nothing_lost(report)
    assert report.pdb_restored
    assert report.after.update_strategy == {"type": "OnDelete"}
    assert len([member for member in report.members if member.healthy]) == 2


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_namespace_that_goes_takes_the_replacement_with_it_but_not_the_node(
    tmp_path: Path, moment: str
) -> None:
    """The user cluster is being deleted: nothing is to be put back but what does not lie in it."""
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        if moment == "before":
            handle = await into_the_drain(scene)
            await delete(scene, "namespace")
            await let_it_drain(scene)
        else:
            handle = await into_the_window(scene, limits={"rejoin": "PT5S", "hold": "PT5S"})
            await delete(scene, "namespace")
            await let_it_start(scene)
        result = await scene.result(handle)
        node = await scene.cluster.get(NODE, NODE_OF_FAILED)
    expected = {"before": Outcome.ROLLED_BACK, "after": Outcome.LEFT_INCOMPLETE}
    assert result.outcome is expected[moment], result.reason
    assert node is not None
    assert not node["spec"].get("unschedulable")
    assert not [k for k in node["metadata"].get("annotations") or {} if k.startswith("replace-etcd/")]
