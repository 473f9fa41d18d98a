"""Attacks by etcd itself: members that recover, fail twice, answer late, run full, at the worst moment."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from activities.data_directory import DataDirectoryActivities
from activities.stateful_set import ON_DELETE
from lab.client import LabClient
from replace_etcd.cluster import POD, STATEFUL_SET
from replace_etcd.errors import Moved, NotStarted, OutcomeUnknown
from replace_etcd.etcd import parse_alarms
from replace_etcd.models.orders import UtilityPodOrder
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome
from replace_etcd.pod_template import is_ready
from tests.attacks.conftest import (
    FAILED,
    POLL,
    SURVIVORS,
    UTILITY,
    Attack,
    Handle,
    arrived,
    attack,
    beside_the_member,
    newer_etcd,
    until,
)
from tests.attacks.meddling import (
    ANOTHER,
    NODE_OF_FAILED,
    annotate,
    nothing_left,
    patch_node,
    pod_uids,
    record_of,
)
from tests.e2e.conftest import NAMESPACE, WITHIN, as_before, nothing_lost, replaced
from tests.e2e.test_janitor import restore
from tests.robustness.proxy import Held, Passage, Rule, answers, on

pytestmark = [pytest.mark.needs("namespaces", "etcd-3.5"), pytest.mark.timeout(600)]

LEADER, FOLLOWER = SURVIVORS
REMOVAL = "exec.*command=member&command=remove"
PROMOTION = "exec.*command=member&command=promote"
ANY_EXEC_IN_FAILED = f"pods/{FAILED}/exec"


async def test_a_voter_of_the_new_life_is_never_wiped(tmp_path: Path) -> None:
    """It has voted under its id: with its data gone it could vote otherwise, and acknowledged writes be lost."""
    async with attack(tmp_path) as scene:
        await scene.destroy()
        handle = await scene.start(limits={"rejoin": "PT15S"})
        await scene.has_done(handle, "remove_member")
        scene.on_the_wire(
            Rule(on(path=ANY_EXEC_IN_FAILED), answers(500), times=None)
        )  # it is not seen to serve
        await scene.has_done(handle, "promote_member")
        members, inode = await scene.members(), await _inode(scene)
        await scene.lab.destroy(FAILED, "corrupt-db")
        await held(scene, handle)

        await handle.execute_update("resolve", {"choice": "retry", "by": "test"})
        await scene.reach(handle, "restart_replaced_pod")
        assert "remove_member" not in await _steps_since_held(scene, handle)
        await scene.worker.kill()  # with it goes what would put back at once what an ended run has left
        await handle.terminate()

        order = await scene.order_of(handle, "clean_data_directory", UtilityPodOrder)
        beside = await beside_the_member(scene, order)
        newest = order.fence.model_copy(update={"generation": 1000})
        again = order.model_copy(update={"fence": newest, "utility_uid": beside.uid, "member_inode": inode})
        with pytest.raises(Moved, match="still stands under this name"):
            await scene.late(DataDirectoryActivities(scene.tools).clean_data_directory, again)
        assert await beside.inode() == inode
        assert await scene.members() == members
        nothing_lost(await scene.judgement())


async def test_a_removal_applied_after_its_time_out_is_found_in_the_list(tmp_path: Path) -> None:
    """A survivor stalls while the command is on its way: it times out, and is applied when the survivor goes on."""
    async with attack(tmp_path) as scene:
        stall = Stall(scene.lab)
        scene.on_the_wire(Rule(on(path=REMOVAL), stall, times=None))
        await scene.lead(LEADER)
        await scene.destroy()
        handle = await scene.start()
        await scene.reach(handle, "remove_member")
        await scene.tries_again(handle)
        assert stall.commands == 1, "it timed out"
        await scene.lab.signal_member(FOLLOWER, "cont")
        result = await scene.result(handle)
        assert stall.commands == 1, "it was applied all the same: there was nothing to send again"
        report = await scene.judgement()
    replaced(result, report)


class Stall:
    """Stops a survivor right before the first removal is sent, which may be lost, as all that follow it."""

    def __init__(self, lab: LabClient, *, passes: bool = True) -> None:
        self._lab = lab
        self._passes = passes
        self.commands = 0

    async def __call__(self, passage: Passage) -> web.StreamResponse:
        self.commands += 1
        if self.commands == 1:
            await self._lab.signal_member(FOLLOWER, "stop")
        if self._passes:
            return await passage.through()
        await passage.accept()
        return passage.drop()


@pytest.mark.parametrize("node", ["schedulable", "cordoned by another"])
async def test_a_member_that_recovers_after_a_removal_that_was_lost_gets_everything_back_on_a_word(
    tmp_path: Path, node: str
) -> None:
    """Nobody could tell whether it was removed: the node stays cordoned, and the edit stands, until somebody asks.

    It serves with `existing` by then: it is restarted where its node takes it back, and where not it is let live.
    """
    async with attack(tmp_path) as scene:
        stall = Stall(scene.lab, passes=False)
        scene.on_the_wire(Rule(on(path=REMOVAL), stall, times=None))
        await scene.lead(LEADER)
        await scene.destroy(fault="hang")
        handle = await scene.start()
        await scene.reach(handle, "remove_member")
        await scene.tries_again(handle)
        await handle.terminate("a test")
        rested = await restore(scene.client)
        assert "nobody can tell whether the member is removed: the cordon" in rested.reason
        assert (await record_of(scene)).outcome is Outcome.INTERRUPTED
        assert (await restore(scene.client)).outcome is None, "the sweeps leave it as it is"

        await scene.lab.signal_member(FOLLOWER, "cont")
        await patch_node(
            scene, lambda _: [{"op": "replace", "path": "/spec/unschedulable", "value": False}]
        )  # by hand
        await until(lambda: _all_serve(scene))
        refused = await scene.result(await scene.start(dry_run=True))
        assert "replace-etcd take-over user-cluster-1" in refused.reason
        served = (await pod_uids(scene))[FAILED]
        if node == "cordoned by another":
            await annotate(scene, ANOTHER, "cordoned")
            await patch_node(
                scene, lambda _: [{"op": "replace", "path": "/spec/unschedulable", "value": True}]
            )
        back = await restore(scene.client, take_over="it has recovered")
        assert (back.workflow_id, back.run_id) == (handle.id, handle.first_execution_run_id)
        assert "before that: replace-etcd.user-cluster-1 was ended from outside" in back.reason
        restarted = (await pod_uids(scene))[FAILED] != served
        if node == "schedulable":
            assert restarted
            assert back.reason.endswith("everything is back")
            await nothing_left(scene)
        report = await scene.judgement()
    assert stall.commands > 0
    nothing_lost(report)
    assert all(member.healthy for member in report.members)
    if node == "schedulable":
        as_before(report)
    else:
        assert not restarted, "it would not have come back"
        assert report.pdb_restored
        assert report.after.update_strategy == ON_DELETE
        left = "; ".join(back.left)
        assert left.startswith("kube-etcd-1 runs with --initial-cluster-state=existing and is not restarted")
        assert left.endswith("updateStrategy OnDelete stays: a rollout would restart kube-etcd-1")
        assert back.reason.endswith(f"everything is back, but: {left}")


async def _all_serve(scene: Attack) -> bool:
    members = (await scene.lab.status()).members
    return len(members) == len(SURVIVORS) + 1 and all(member.healthy for member in members)


async def test_a_pod_that_comes_to_the_volume_with_the_removal_is_evicted_once_more(tmp_path: Path) -> None:
    """Somebody uncordons the node when every look is over: the removed member's pod starts beside the utility Pod."""
    async with attack(tmp_path) as scene:
        uncordon = Uncordon(scene)
        scene.on_the_wire(Rule(on(path=REMOVAL), uncordon))
        await scene.destroy()
        handle = await scene.start(drain="replica")
        result = await scene.result(handle)
        assert uncordon.met == NODE_OF_FAILED
        made = [
            step.name for step in result.steps if step.name in ("create_utility_pod", "clean_data_directory")
        ]
        assert made == [
            "create_utility_pod",
            "clean_data_directory",
            "create_utility_pod",
            "clean_data_directory",
        ]
        assert "note_hold" not in [step.name for step in result.steps], "nobody had to be asked"
        report = await scene.judgement()
    replaced(result, report)


class Uncordon:
    """Uncordons the node right before a removal is sent, and lets the pod start there."""

    def __init__(self, scene: Attack) -> None:
        self._scene = scene
        self.met = ""

    async def __call__(self, passage: Passage) -> web.StreamResponse:
        await patch_node(
            self._scene, lambda _: [{"op": "add", "path": "/spec/unschedulable", "value": False}]
        )
        await until(self._is_there)
        return await passage.through()

    async def _is_there(self) -> bool:
        pod = await self._scene.cluster.get(POD, FAILED, NAMESPACE)
        self.met = pod["spec"].get("nodeName", "") if pod else ""
        return bool(self.met)


async def test_a_member_that_recovers_before_its_eviction_is_let_live(tmp_path: Path) -> None:
    """Between preflight and eviction: while somebody is asked, and while it is probed once more."""
    async with attack(tmp_path, REPLACE_ETCD_FAILURE_PROBE_SECONDS="20") as scene:
        await scene.destroy(fault="hang")
        before = await scene.world()
        handle = await scene.start(require_approval=True)
        await _asks(scene, handle)
        await scene.lab.signal_member(FAILED, "cont")
        await handle.execute_update("approve", {"approver": "test"})
        result = await scene.result(handle)
        assert result.outcome is Outcome.REFUSED, result.reason
        assert await scene.world() == before

        await scene.destroy(fault="hang")
        handle = await scene.start()
        await scene.reach(handle, "watch_failed_member")
        await scene.lab.signal_member(FAILED, "cont")
        result = await scene.result(handle)
        assert result.outcome is Outcome.ROLLED_BACK, result.reason
        assert "answers again" in result.reason
        after = await scene.world()
        assert after["pods"] == before["pods"], "nothing was evicted"
        assert (after["nodes"], after["record"]) == (before["nodes"], None)
        report = await scene.judgement()
    nothing_lost(report)
    as_before(report)
    assert all(member.healthy for member in report.members)


async def test_no_survivor_is_drained_away_from_a_learner(tmp_path: Path) -> None:
    """A learner that is Ready counts as a healthy pod, and the budget as it was would admit the eviction."""
    promotion = Held()
    async with attack(tmp_path) as scene:
        scene.on_the_wire(Rule(on(path=PROMOTION), promotion, times=None))
        await scene.destroy()
        handle = await scene.start()
        await scene.has_done(handle, "protect_survivors")
        drain = asyncio.create_task(_drain_survivors(scene))
        await until(lambda: _learner_is_ready(scene))
        for survivor in SURVIVORS:
            assert await _evict(scene, survivor) == 429
        promotion.release()
        await scene.has_done(handle, "wait_for_voter")
        drain.cancel()
        with suppress(asyncio.CancelledError):
            await drain
        result = await scene.result(handle)
        report = await scene.judgement()
    replaced(result, report)


async def _drain_survivors(scene: Attack) -> None:
    """Somebody drains both survivors' nodes, and is as patient as kubectl is."""
    while True:
        for survivor in SURVIVORS:
            assert await _evict(scene, survivor) == 429
        await asyncio.sleep(POLL)


async def _evict(scene: Attack, pod: str) -> int:
    found = await scene.cluster.get(POD, pod, NAMESPACE)
    assert found is not None
    return (await scene.cluster.evict(NAMESPACE, pod, uid=found["metadata"]["uid"])).status


async def _learner_is_ready(scene: Attack) -> bool:
    pod = await scene.cluster.get(POD, FAILED, NAMESPACE)
    learners = [member for member in (await scene.lab.status()).members if member.learner and member.started]
    return is_ready(pod) and len(learners) == 1


async def test_nospace_of_the_failed_member_is_disarmed_when_it_is_removed(tmp_path: Path) -> None:
    """Its alarm outlives it in etcd: without a disarm every write stays refused."""
    async with attack(tmp_path) as scene:
        await _raise_nospace(scene)
        await scene.destroy()
        refused = await scene.etcdctl(LEADER, "put", "a", "b")
        assert "space exceeded" in refused.stderr
        result = await scene.result(await scene.start())
        assert any(step.name == "disarm_alarm_of_removed_member" for step in result.steps)
        written = await scene.etcdctl(LEADER, "put", "a", "b")
        assert written.exit_code == 0, written.stderr
        report = await scene.judgement()
    replaced(result, report)


async def _raise_nospace(scene: Attack) -> None:
    """Let the member run with a quota of its own, too small, for as long as it takes to raise the alarm."""
    spec = (await scene.stateful_set())["spec"]
    arguments = spec["template"]["spec"]["containers"][0]["args"]
    number, quota = next((n, word) for n, word in enumerate(arguments) if "quota" in word)
    place = f"/spec/template/spec/containers/0/args/{number}"
    small = [_put(place, "--quota-backend-bytes=1000"), _put("/spec/updateStrategy", ON_DELETE)]
    await scene.cluster.patch(STATEFUL_SET, "kube-etcd", NAMESPACE, small)
    pod = await scene.cluster.get(POD, FAILED, NAMESPACE)
    assert pod is not None
    await scene.cluster.delete(POD, FAILED, NAMESPACE, uid=pod["metadata"]["uid"])

    async def raised() -> bool:
        with suppress(NotStarted, OutcomeUnknown):  # it is between its two lives
            await scene.etcdctl(FAILED, "put", "more", "than the quota")
        alarms = await scene.etcdctl(LEADER, "alarm", "list", "-w", "json")
        return bool(parse_alarms(alarms.stdout))

    await until(raised)
    as_it_was = [_put(place, quota), _put("/spec/updateStrategy", spec["updateStrategy"])]
    await scene.cluster.patch(STATEFUL_SET, "kube-etcd", NAMESPACE, as_it_was)

    async def runs_as_before() -> bool:
        pod = await scene.cluster.get(POD, FAILED, NAMESPACE)
        return pod is not None and is_ready(pod) and quota in pod["spec"]["containers"][0]["args"]

    await until(runs_as_before)


def _put(path: str, value: object) -> dict[str, object]:
    return {"op": "replace", "path": path, "value": value}


async def test_a_second_member_that_dies_before_the_removal_stops_it(tmp_path: Path) -> None:
    """With the quorum lost nothing is evicted or removed, and everything goes back without asking etcd."""
    async with attack(tmp_path, REPLACE_ETCD_FAILURE_PROBE_SECONDS="20") as scene:
        await scene.destroy()
        before = await scene.world()
        handle = await scene.start()
        await scene.reach(handle, "watch_failed_member")
        await scene.lab.signal_member(FOLLOWER, "stop")
        await scene.tries_again(handle)
        pod = await scene.cluster.get(POD, FAILED, NAMESPACE)
        assert pod is not None
        assert (FAILED, pod["metadata"]["uid"]) in before["pods"], "nothing was evicted"
        await handle.execute_update("abort", {"by": "test", "reason": "the quorum is lost"})
        with pytest.raises(WorkflowFailureError) as caught:
            async with asyncio.timeout(WITHIN):
                await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
        after = await scene.world()
        assert (after["pods"], after["nodes"], after["record"]) == (before["pods"], before["nodes"], None)
        await scene.lab.signal_member(FOLLOWER, "cont")
        report = await scene.judgement()
    nothing_lost(report)
    as_before(report)
    assert len(report.members) == 3


async def test_a_second_member_that_dies_after_the_removal_is_waited_for(tmp_path: Path) -> None:
    """Two members are left, and one of them stalls: no quorum, no way back; it goes on where the member does."""
    wipe = Held()
    async with attack(tmp_path) as scene:
        scene.on_the_wire(Rule(on(path=f"{UTILITY}/exec.*flock"), wipe))
        await scene.destroy()
        handle = await scene.start()
        await arrived(wipe)
        await scene.lab.signal_member(FOLLOWER, "stop")
        wipe.release()
        await scene.reach(handle, "add_member")
        await scene.tries_again(handle)
        assert (await scene.progress(handle)).outcome is None
        await scene.lab.signal_member(FOLLOWER, "cont")
        result = await scene.result(handle)
        report = await scene.judgement()
    replaced(result, report)


async def test_of_five_members_one_that_failed_is_replaced_and_two_are_refused(tmp_path: Path) -> None:
    """Five bear two failures, and a replacement needs one of them: a second failure is a recovery from data loss."""
    async with attack(tmp_path, newer_etcd(members=5)) as scene:
        await scene.destroy()
        await scene.lab.signal_member("kube-etcd-3", "stop")
        before = await scene.world()
        result = await scene.result(await scene.start())
        assert result.outcome is Outcome.REFUSED, result.reason
        assert "exactly one failed member" in result.reason
        assert await scene.world() == before

        await scene.lab.signal_member("kube-etcd-3", "cont")
        result = await scene.result(await scene.start())
        report = await scene.judgement()
    replaced(result, report, members=5)
    assert report.after.pdb_spec == {**(report.before.pdb_spec or {}), "minAvailable": 3}


async def test_a_snapshot_that_finds_no_room_is_not_taken(tmp_path: Path) -> None:
    """Neither where the worker keeps it nor on the node of the utility Pod: nothing is removed without it."""
    lab = newer_etcd(ephemeral_storage="4MiB")
    async with attack(tmp_path, lab, REPLACE_ETCD_SNAPSHOT_DIR="/proc") as scene:  # it has no room at all
        await scene.destroy()
        before, members = await scene.world(), await scene.members()
        result = await scene.result(await scene.start(require_snapshot=True))
        assert result.outcome is not Outcome.REPLACED
        assert "/proc" in result.reason
        assert (await scene.world())["pods"] == before["pods"]

        await scene.change_worker(REPLACE_ETCD_SNAPSHOT_DIR=str(tmp_path))
        result = await scene.result(await scene.start(require_snapshot=True))
        assert result.outcome is Outcome.ROLLED_BACK, result.reason
        assert "ephemeral storage" in result.reason
        assert await scene.members() == members
        assert (await scene.world())["record"] is None
        report = await scene.judgement()
    nothing_lost(report)
    as_before(report)


async def test_a_snapshot_takes_no_room_on_a_survivor(tmp_path: Path) -> None:
    """A volume that runs full ends the member, and with one failed already the quorum."""
    lab = newer_etcd(disk_size="220MiB", database_size="24MB")
    async with attack(tmp_path, lab, REPLACE_ETCD_SNAPSHOT_DIR=str(tmp_path)) as scene:
        left = {survivor: await _fill_up(scene, survivor) for survivor in SURVIVORS}
        await scene.destroy()
        result = await scene.result(await scene.start(require_snapshot=True))
        assert result.snapshot is not None
        assert all(result.snapshot.size > bytes_left for bytes_left in left.values())
        report = await scene.judgement()
    replaced(result, report)


async def _fill_up(scene: Attack, pod: str) -> int:
    """Leave a member's volume 8 MiB; returns the bytes that are free then."""
    fill = """
    free=$(df -Pk /var/lib/etcd | awk 'END { print $4 }')
    head -c "$(( (free - 8192) * 1024 ))" /dev/zero >/var/lib/etcd/filler
    df -Pk /var/lib/etcd | awk 'END { print $4 * 1024 }'
    """
    answer = await scene.cluster.execute(NAMESPACE, pod, "kube-etcd", ["/bin/sh", "-c", fill], seconds=60)
    assert answer.exit_code == 0, answer.stderr
    return int(answer.stdout)


async def held(scene: Attack, handle: Handle) -> None:
    """Wait until the replacement asks what to do."""

    async def asks() -> bool:
        return (await scene.progress(handle)).waiting_for == "resolve"

    await until(asks)
    assert (await scene.progress(handle)).phase is Phase.HELD


async def _asks(scene: Attack, handle: Handle) -> None:
    async def waits() -> bool:
        return (await scene.progress(handle)).waiting_for == "approval"

    await until(waits)


async def _steps_since_held(scene: Attack, handle: Handle) -> list[str]:
    steps = [step.name for step in (await scene.progress(handle)).steps]
    return steps[steps.index("note_hold") :]


async def _inode(scene: Attack) -> str:
    """The inode of the new member's `member/`."""
    command = ["/bin/sh", "-c", "stat -c %i /var/lib/etcd/member"]
    return (await scene.cluster.execute(NAMESPACE, FAILED, "kube-etcd", command, seconds=30)).stdout.strip()
