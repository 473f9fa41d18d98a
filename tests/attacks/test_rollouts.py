"""Attacks with the template: a rollout or an upgrade in the middle, and somebody who puts the update strategy back.

A rollout restarts healthy members while one is missing, and asks neither budgets nor etcd.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lab.fixture.names import node_of
from lab.models import LabReport
from lab.options import LabOptions
from replace_etcd.cluster import STATEFUL_SET
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome, ReplacementResult
from tests.attacks.meddling import (
    ROLLING,
    asked,
    edit,
    etcd_35,
    flag_of,
    into_the_drain,
    into_the_window,
    let_it_drain,
    let_it_start,
    nothing_left,
    pod_uids,
    replaced_though_survivors_restarted,
    restart_rollout,
    stateful_set,
    upgrade,
)
from tests.e2e.conftest import NAMESPACE, REAL, Scene, as_before, nothing_lost, replaced, scene_of

pytestmark = [pytest.mark.timeout(500), pytest.mark.needs("namespaces", "etcd-3.5")]

ON_DELETE = {"type": "OnDelete"}
SURVIVORS = ("kube-etcd-0", "kube-etcd-2")
Edit = Callable[[Scene], Awaitable[None]]
EDITS = pytest.mark.parametrize("somebody", [restart_rollout, upgrade])


@EDITS
async def test_a_rollout_before_the_removal_rolls_back_and_is_not_set_off_by_it(
    tmp_path: Path, somebody: Edit
) -> None:
    """Under `Parallel` the strategy, put back, would restart a survivor at once."""
    async with scene_of(etcd_35(pod_management="Parallel"), tmp_path) as scene:
        await scene.destroy()
        before, uids = await stateful_set(scene), await pod_uids(scene)
        handle = await into_the_drain(scene)
        await somebody(scene)
        await let_it_drain(scene)
        result = await scene.result(handle)
        assert result.outcome is Outcome.ROLLED_BACK, result.reason
        assert "a rollout or an upgrade" in result.reason
        await nothing_left(scene)
        now = await stateful_set(scene)
        assert now["spec"]["updateStrategy"] == ON_DELETE
        assert flag_of(now) == "new"
        assert now["spec"]["template"] != before["spec"]["template"], "what somebody wants is theirs"
        after = await pod_uids(scene)
        assert {name: after[name] for name in SURVIVORS} == {name: uids[name] for name in SURVIVORS}
        report = await scene.judgement()
    assert any("a rollout would restart kube-etcd-0, kube-etcd-2" in left for left in result.left)
    nothing_lost(report)
    assert report.pdb_restored
    assert report.nodes_restored
    assert result.plan is not None
    assert {member.id for member in report.members} == {member.id for member in result.plan.members}


@EDITS
async def test_a_rollout_after_the_removal_is_left_to_whoever_wants_it(
    tmp_path: Path, somebody: Edit
) -> None:
    """The replacement is finished, the flag is back, and `OnDelete` stays, so that no survivor is restarted."""
    async with scene_of(etcd_35(pod_management="Parallel"), tmp_path) as scene:
        await scene.destroy()
        uids = await pod_uids(scene)
        handle = await into_the_window(scene)
        await somebody(scene)
        await let_it_start(scene)
        result = await scene.result(handle)
        assert result.outcome is Outcome.REPLACED, result.reason
        await nothing_left(scene)
        now = await stateful_set(scene)
        assert now["spec"]["updateStrategy"] == ON_DELETE
        assert flag_of(now) == "new"
        after = await pod_uids(scene)
        assert {name: after[name] for name in SURVIVORS} == {name: uids[name] for name in SURVIVORS}
        report = await scene.judgement()
    assert ["updateStrategy OnDelete stays" in left for left in result.left] == [True]
    assert "kube-etcd-0, kube-etcd-2" in result.left[0]
    nothing_lost(report)
    assert report.pdb_restored
    assert report.nodes_restored
    assert len([member for member in report.members if member.healthy and not member.learner]) == 3


async def test_a_strategy_restored_before_the_removal_rolls_back(tmp_path: Path) -> None:
    """Never fight: somebody wants it so. `OrderedReady` moves no pod while one is not Ready."""
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_drain(scene)
        await edit(scene, "/spec/updateStrategy", ROLLING)
        await let_it_drain(scene)
        result = await scene.result(handle)
        assert result.outcome is Outcome.ROLLED_BACK, result.reason
        assert "somebody reverted the edit" in result.reason
        await nothing_left(scene)
        report = await scene.judgement()
    nothing_lost(report)
    as_before(report)


SAFE = [("simulated", "Parallel", "kube-etcd-2"), ("simulated", "OrderedReady", "kube-etcd-1")]
SAFE_REAL = [pytest.param(*REAL.values, "Parallel", "kube-etcd-2", marks=REAL.marks)]


@pytest.mark.parametrize(("kubernetes", "pod_management", "replica"), [*SAFE, *SAFE_REAL])
async def test_a_strategy_restored_after_the_removal_goes_away_before_a_survivor_restarts(
    tmp_path: Path, kubernetes: str, pod_management: str, replica: str
) -> None:
    """The controller waits for the new member to be Ready, and by then `OnDelete` stands again."""
    result, report = await _attacked(tmp_path, etcd_35(kubernetes, pod_management), replica)
    replaced(result, report)


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
async def test_under_parallel_a_higher_ordinal_may_be_restarted_once_and_no_other(
    tmp_path: Path, kubernetes: str
) -> None:
    """Its controller deletes the highest ordinal that differs at once: no watch is faster. It stops there.

    That pod comes back on its data, and is brought back to its flag in the end: two restarts of one survivor.
    """
    result, report = await _attacked(tmp_path, etcd_35(kubernetes, "Parallel"), "kube-etcd-1")
    assert report.judgement.survivor_restarts <= 2
    assert report.judgement.restarted in ([], ["kube-etcd-2"])
    replaced_though_survivors_restarted(result, report, restarted=report.judgement.restarted)


async def _attacked(
    directory: Path, options: LabOptions, replica: str
) -> tuple[ReplacementResult, LabReport]:
    """Somebody restores `RollingUpdate` again and again, while the new member joins and while it is held."""
    node = node_of(replica)
    async with scene_of(options, directory) as scene:
        await scene.destroy(replica)
        handle = await into_the_window(scene, node, limits={"rejoin": "PT20S"})
        for _ in range(3):
            await _restored_in_vain(scene)
        await asked(scene, handle)
        assert (await scene.progress(handle)).phase is Phase.HELD
        for _ in range(3):
            await _restored_in_vain(scene)
        await let_it_start(scene, node)
        await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})
        result = await scene.result(handle)
        await nothing_left(scene)
        return result, await scene.judgement()


async def _restored_in_vain(scene: Scene) -> None:
    await edit(scene, "/spec/updateStrategy", ROLLING)
    await scene.cluster.wait_for(
        STATEFUL_SET,
        "kube-etcd",
        NAMESPACE,
        lambda found: found is not None and found["spec"]["updateStrategy"] == ON_DELETE,
        seconds=60,
    )
