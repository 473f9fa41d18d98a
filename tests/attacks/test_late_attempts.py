"""Attempts that act late: after the step was done by another one, undone, or long overtaken by the ones after it.

A command outlives its connection, a worker can be frozen and wake up; neither may remove, wipe or edit anything then.
"""

import json
from pathlib import Path

import pytest

from activities.data_directory import DataDirectoryActivities
from activities.etcd_members import EtcdMemberActivities
from replace_etcd.cluster import POD, STATEFUL_SET
from replace_etcd.errors import Invalid, LockLost, RemovalDidNotStart
from replace_etcd.models.orders import Order, UtilityPodOrder
from replace_etcd.models.result import Outcome
from replace_etcd.pod_template import is_ready
from tests.attacks.conftest import FAILED, UTILITY, Attack, Late, attack, beside_the_member, until
from tests.e2e.conftest import NAMESPACE, as_before, nothing_lost, replaced
from tests.robustness.proxy import Held, Rule, answers, on

pytestmark = [pytest.mark.needs("namespaces", "etcd-3.5"), pytest.mark.timeout(600)]

REMOVAL = "exec.*command=member&command=remove"
EDIT = r"statefulsets/kube-etcd(\?|$)"


async def test_a_removal_that_comes_after_the_new_member_joined_removes_nobody(tmp_path: Path) -> None:
    """The command names a literal id, which is listed no more; and the order is late, wherever the run is by then."""
    removal, flag_back = Late(), Held()
    async with attack(tmp_path) as scene:
        scene.on_the_wire(
            Rule(on(path=REMOVAL), removal), Rule(on(method="PATCH", path=EDIT, nth=2), flag_back)
        )
        await scene.destroy()
        handle = await scene.start()
        await scene.has_done(handle, "wait_for_voter")
        members = await scene.members()
        assert len(members) == 3
        order = await scene.order_of(handle, "remove_member", Order)
        remove = EtcdMemberActivities(scene.tools).remove_member

        await removal.act()
        with pytest.raises(LockLost):
            await scene.late(remove, order)
        assert await scene.members() == members, "the new member stays"

        flag_back.release()
        result = await scene.result(handle)
        with pytest.raises(RemovalDidNotStart, match="is gone"):
            await scene.late(remove, order)
        assert await scene.members() == members
        report = await scene.judgement()
    replaced(result, report)


async def test_a_first_patch_that_comes_after_its_compensation_is_refused(tmp_path: Path) -> None:
    """The object looks as it did when the patch was made; only its version tells that it was put back since."""
    patch = Late()
    async with attack(tmp_path) as scene:
        await scene.destroy(fault="hang")
        await until(lambda: _is_down(scene))  # nothing else moves the StatefulSet's version from here on
        scene.on_the_wire(
            Rule(on(method="PATCH", path=EDIT), patch), Rule(on(method="PATCH", path=EDIT), answers(403))
        )
        result = await scene.result(await scene.start())
        assert result.outcome is Outcome.ROLLED_BACK, result.reason
        before = await scene.world()

        await patch.act()
        assert await scene.world() == before
        assert patch.call is not None
        with pytest.raises(Invalid):
            await scene.cluster.patch(STATEFUL_SET, "kube-etcd", NAMESPACE, json.loads(patch.call.body))
        assert before["record"] is None
        report = await scene.judgement()
    nothing_lost(report)
    as_before(report)


async def test_a_wipe_that_comes_when_the_new_member_runs_wipes_nothing(tmp_path: Path) -> None:
    """Every health check would pass after such a wipe, until the member's next restart: so it is restarted."""
    wipe = Late()
    async with attack(tmp_path) as scene:
        scene.on_the_wire(Rule(on(path=f"{UTILITY}/exec.*flock"), wipe))
        await scene.destroy()
        handle = await scene.start()
        result = await scene.result(handle)
        assert result.outcome is Outcome.REPLACED, result.reason
        order = await scene.order_of(handle, "clean_data_directory", UtilityPodOrder)
        before = await scene.world()

        with pytest.raises(LockLost):
            await scene.late(DataDirectoryActivities(scene.tools).clean_data_directory, order)
        assert await scene.world() == before, "no record, no cordon"

        beside = await beside_the_member(scene, order)
        await wipe.act()  # the command that was held, in a Pod of the same name
        assert await beside.wipe(uid=order.utility_uid) == 21
        for inode in (order.member_inode, "", await beside.inode()):
            assert await beside.wipe(inode=inode) in (22, 23)
        for inode in (order.member_inode, ""):
            assert await beside.wipe(inode=inode, flock=False) == 23
        assert await beside.files() == "member"
        await beside.delete()

        await _restart(scene)
        report = await scene.judgement()
    replaced(result, report)


async def _restart(scene: Attack) -> None:
    """Restart the new member, which shows whether its data is there."""
    pod = await scene.cluster.get(POD, FAILED, NAMESPACE)
    assert pod is not None
    uid = pod["metadata"]["uid"]
    await scene.cluster.delete(POD, FAILED, NAMESPACE, uid=uid)

    async def serves_again() -> bool:
        members = (await scene.lab.status()).members
        found = await scene.cluster.get(POD, FAILED, NAMESPACE)
        return (
            found is not None
            and found["metadata"]["uid"] != uid
            and is_ready(found)
            and len(members) == 3
            and all(member.healthy for member in members)
        )

    await until(serves_again)


async def _is_down(scene: Attack) -> bool:
    pod = await scene.cluster.get(POD, FAILED, NAMESPACE)
    return not is_ready(pod)
