"""Attacks with nodes: another replacement has it, an upgrade has cordoned it, a survivor's reboots, its own is dead."""

from pathlib import Path

import pytest

from activities.node import EXCLUSIVE
from replace_etcd.cluster import NODE, PDB, POD
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome
from tests.attacks.meddling import (
    NODE_OF_FAILED,
    Handle,
    annotate,
    asked,
    etcd_35,
    flag_in,
    into_the_window,
    let_it_start,
    nothing_left,
    patch_node,
    pod_uids,
    record_of,
    replaced_though_survivors_restarted,
    stateful_set,
)
from tests.e2e.conftest import NAMESPACE, Scene, nothing_lost, replaced, scene_of
from tests.lab.nodes.waiting import until

pytestmark = [pytest.mark.timeout(500), pytest.mark.needs("namespaces", "etcd-3.5")]

SURVIVOR, NODE_OF_SURVIVOR = "kube-etcd-0", "node-1"
WITHIN = 240.0


async def test_a_node_that_another_replacement_has_is_waited_for_in_sight_of_all(tmp_path: Path) -> None:
    """Nothing of the user cluster changes meanwhile: the budget stands, the template is as it was."""
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        await annotate(scene, EXCLUSIVE, "user-cluster-2")
        before, pods = await stateful_set(scene), await pod_uids(scene)
        handle = await scene.start()
        await scene.reach(handle, "take_node")
        assert (await scene.progress(handle)).phase is Phase.WAITING_FOR_NODE
        await _says(handle, "the replacement of user-cluster-2 has it")
        assert (await stateful_set(scene))["spec"] == before["spec"]
        assert await pod_uids(scene) == pods
        assert (await scene.lab.report()).judgement.seconds_without_pdb == 0
        await annotate(scene, EXCLUSIVE, None)
        result = await scene.result(handle)
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)


async def _says(handle: Handle, words: str) -> None:
    """Until the step under way says so in its heartbeat, as `watch` and the Web UI show it."""

    async def said() -> bool:
        description = await handle.describe()
        pending = description.raw_description.pending_activities
        return any(words in str(activity.heartbeat_details) for activity in pending)

    await until(said, within=WITHIN)


async def test_a_node_that_an_upgrade_has_cordoned_is_refused_and_stays_cordoned(tmp_path: Path) -> None:
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        await patch_node(
            scene, lambda _: [{"op": "add", "path": "/spec/unschedulable", "value": True}], NODE_OF_FAILED
        )
        before, pods = await stateful_set(scene), await pod_uids(scene)
        result = await scene.result(await scene.start())
        assert result.outcome is Outcome.REFUSED, result.reason
        assert f"kubectl uncordon {NODE_OF_FAILED}" in result.reason
        node = await scene.cluster.get(NODE, NODE_OF_FAILED)
        assert node is not None
        assert node["spec"]["unschedulable"] is True
        assert (await stateful_set(scene))["spec"] == before["spec"]
        assert await pod_uids(scene) == pods
        await nothing_left(scene)
        report = await scene.judgement()
    nothing_lost(report)
    assert report.judgement.seconds_without_pdb == 0


async def test_a_survivor_whose_node_reboots_in_the_window_costs_writes_only_while_it_boots(
    tmp_path: Path,
) -> None:
    """Its own pod starts again, as it was; one that somebody deletes is made anew with `existing`: harmless.

    It is the lowest ordinal: under `OrderedReady` a higher one would wait for the new member to be Ready.
    """
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        handle = await into_the_window(scene)
        await scene.lab.set_agent(NODE_OF_SURVIVOR, running=False)
        await scene.lab.signal_member(SURVIVOR, "kill")
        await scene.lab.set_agent(NODE_OF_SURVIVOR, running=True)
        await _serves(scene, SURVIVOR)
        pod = await scene.cluster.get(POD, SURVIVOR, NAMESPACE)
        assert pod is not None
        assert flag_in(pod) == "new"
        await scene.cluster.delete(POD, SURVIVOR, NAMESPACE, uid=pod["metadata"]["uid"], grace=1)
        await until(lambda: _is_another(scene, pod["metadata"]["uid"]), within=WITHIN)
        await _serves(scene, SURVIVOR)
        again = await scene.cluster.get(POD, SURVIVOR, NAMESPACE)
        assert again is not None
        assert flag_in(again) == "existing"
        assert (await scene.progress(handle)).phase is Phase.REJOINING
        await let_it_start(scene)
        result = await scene.result(handle)
        await nothing_left(scene)
        report = await scene.judgement()
    replaced_though_survivors_restarted(result, report, restarted=[SURVIVOR])


async def _is_another(scene: Scene, uid: str) -> bool:
    pod = await scene.cluster.get(POD, SURVIVOR, NAMESPACE)
    return pod is not None and pod["metadata"]["uid"] != uid


async def _serves(scene: Scene, name: str) -> None:
    """Until the member is healthy again, and with it the quorum."""

    async def healthy() -> bool:
        status = await scene.lab.status()
        return status.leader is not None and any(m.name == name and m.healthy for m in status.members)

    await until(healthy, within=WITHIN)


async def test_a_dead_node_makes_it_ask_before_anything_changes(tmp_path: Path) -> None:
    """The volume cannot move, so that nobody's word helps; with the node back it goes on."""
    async with scene_of(etcd_35(), tmp_path) as scene:
        await scene.destroy()
        await scene.lab.set_agent(NODE_OF_FAILED, running=False)
        await until(lambda: _not_ready(scene), within=WITHIN)
        before = await stateful_set(scene)
        handle = await scene.start()
        question = await asked(scene, handle)
        assert question.phase is Phase.HELD
        assert question.choices == ["resolve retry", "resolve abandon", "abort"]
        assert NODE_OF_FAILED in (await record_of(scene)).reason
        assert (await stateful_set(scene))["spec"] == before["spec"]
        assert await scene.cluster.get(PDB, "kube-etcd-pdb", NAMESPACE) is not None
        await scene.lab.set_agent(NODE_OF_FAILED, running=True)
        await until(lambda: _ready(scene), within=WITHIN)
        await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})
        result = await scene.result(handle)
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)


async def _ready(scene: Scene) -> bool:
    return (await scene.lab.status()).nodes[NODE_OF_FAILED]


async def _not_ready(scene: Scene) -> bool:
    return not await _ready(scene)
