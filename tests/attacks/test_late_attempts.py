"""Attempts that act late: after the step was done by another one, undone, or long overtaken by the ones after it.

A command outlives its connection, a worker can be frozen and wake up; neither may remove, wipe or edit anything then.
"""

import json
import uuid
from pathlib import Path

import pytest

from activities.data_directory import WIPE, DataDirectoryActivities
from activities.etcd_members import EtcdMemberActivities
from replace_etcd.cluster import POD, STATEFUL_SET, CommandResult
from replace_etcd.errors import Invalid, LockLost, OutcomeUnknown
from replace_etcd.models.orders import Order, UtilityPodOrder
from replace_etcd.models.result import Outcome
from replace_etcd.pod_template import is_ready
from replace_etcd.utility_pod import CONTAINER, utility_pod
from tests.attacks.conftest import FAILED, SETTINGS, Attack, Late, attack, until
from tests.e2e.conftest import NAMESPACE, as_before, nothing_lost, replaced
from tests.robustness.proxy import Held, Rule, answers, on

pytestmark = [pytest.mark.needs("namespaces", "etcd-3.5"), pytest.mark.timeout(600)]

REMOVAL = "exec.*command=member&command=remove"
EDIT = "statefulsets/kube-etcd$"
UTILITY = "etcd-utility-1"
TOOLS_WITHOUT_FLOCK = "for t in sh mv rm find stat mkdir; do ln -sf $(command -v $t) /tmp/$t; done"


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
        with pytest.raises(OutcomeUnknown, match="is gone"):
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

        beside = await _utility_pod_again(scene, order)
        await wipe.act()  # the command that was held, in a Pod of the same name
        assert await beside.wipe(uid=order.utility_uid) == 21
        for inode in (order.member_inode, "", await beside.inode()):
            assert await beside.wipe(inode=inode) in (22, 23)
        for inode in (order.member_inode, ""):
            assert await beside.wipe(inode=inode, path="/tmp") == 23, "without flock"
        assert await beside.files() == "member"
        await beside.delete()

        await _restart(scene)
        report = await scene.judgement()
    replaced(result, report)


class Beside:
    """A utility Pod beside the member that runs, as a late order would find it at the worst."""

    def __init__(self, scene: Attack, uid: str, run: str) -> None:
        self._scene = scene
        self._uid = uid
        self._run = run

    async def shell(self, script: str, *arguments: str) -> CommandResult:
        """Run a script in it."""
        command = ["/bin/sh", "-c", script, "sh", *arguments]
        return await self._scene.cluster.execute(NAMESPACE, UTILITY, CONTAINER, command, seconds=30)

    async def wipe(self, *, uid: str = "", inode: str = "", path: str = "") -> int:
        """The wipe's own exit code; with `path`, as in an image that has only what is there."""
        arguments = ("/var/lib/etcd", uid or self._uid, self._run, inode, uuid.uuid4().hex)
        if path:
            await self.shell(TOOLS_WITHOUT_FLOCK)
        return (await self.shell(f"PATH={path}; {WIPE}" if path else WIPE, *arguments)).exit_code

    async def inode(self) -> str:
        """The inode of `member/` as it is."""
        return (await self.shell("stat -c %i /var/lib/etcd/member")).stdout.strip()

    async def files(self) -> str:
        """What the data directory holds."""
        return (await self.shell("ls -A /var/lib/etcd")).stdout.strip()

    async def delete(self) -> None:
        """Delete it."""
        await self._scene.cluster.delete(POD, UTILITY, NAMESPACE, uid=self._uid)
        await self._scene.cluster.wait_for(POD, UTILITY, NAMESPACE, lambda pod: pod is None, seconds=60)


async def _utility_pod_again(scene: Attack, order: UtilityPodOrder) -> Beside:
    run = order.fence.first_run_id
    manifest = utility_pod(order.pins, SETTINGS, run, order.fence.generation)
    made = await scene.cluster.create(POD, manifest, NAMESPACE)
    await scene.cluster.wait_for(POD, UTILITY, NAMESPACE, is_ready, seconds=60)
    return Beside(scene, made["metadata"]["uid"], run)


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
