"""Everything that can have moved, asked once more: each move is noticed, with every other one beside it."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from activities import keyspace
from activities.recheck import Moment, must_hold_still
from activities.survivors import Survivors
from replace_etcd.cluster import CLAIM, CONFIG_MAP, NODE, POD, STATEFUL_SET, Object
from replace_etcd.errors import Forbidden, Moved, NotYet
from replace_etcd.models.plan import FlagPlace, Survivor
from tests.unit.scripted_etcd import NAMES, ScriptedEtcd
from tests.workflows.script import PINS as SCRIPTED

FLAG = FlagPlace(pointer="/spec/template/spec/containers/0/args/0", original="new", existing="existing")
PINS = SCRIPTED.model_copy(
    update={
        "member_id": "b",
        "flag": FLAG,
        "survivors": [
            Survivor(pod="kube-etcd-0", pod_uid="uid-0", member_id="a"),
            Survivor(pod="kube-etcd-2", pod_uid="uid-2", member_id="c"),
        ],
    }
)
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def still() -> ScriptedEtcd:
    """The world of the pins, after the edit of the template."""
    etcd = ScriptedEtcd()
    template = {"spec": {"containers": [{"name": "kube-etcd", "args": ["existing"]}]}}
    spec = {"updateStrategy": {"type": "OnDelete"}, "template": template}
    etcd.objects = {
        (STATEFUL_SET.plural, "kube-etcd"): {"metadata": {"uid": PINS.stateful_set_uid}, "spec": spec},
        (CLAIM.plural, PINS.claim): {"metadata": {"uid": PINS.claim_uid}},
        (NODE.plural, PINS.node): {"metadata": {"uid": PINS.node_uid}, "status": READY},
        **{
            (POD.plural, name): _pod(name, uid)
            for name, uid in zip(NAMES, ("uid-0", "uid-1", "uid-2"), strict=True)
        },
    }
    return etcd


def _pod(name: str, uid: str, *claims: str) -> Object:
    volumes = [{"persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    return {"metadata": {"name": name, "uid": uid}, "spec": {"volumes": volumes}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cannot be compared need not be compared again and again."""
    monkeypatch.setattr(keyspace, "HASH_PAUSE_SECONDS", 0.0)


async def recheck(etcd: ScriptedEtcd, moment: Moment = Moment.REMOVAL, **pins: Any) -> None:
    tools = etcd.tools()
    await must_hold_still(tools, Survivors(tools), PINS.model_copy(update=pins), moment=moment)


@pytest.mark.parametrize("moment", Moment)
async def test_a_world_that_holds_still(moment: Moment) -> None:
    etcd = still()
    etcd.objects[POD.plural, "kube-etcd-1"] = _pod("kube-etcd-1", "uid-of-the-successor", PINS.claim)
    etcd.objects[POD.plural, "etcd-utility-1"] = _pod("etcd-utility-1", "uid-u", PINS.claim)
    await recheck(etcd, moment)


async def test_an_alarm_of_the_failed_member_is_no_move() -> None:
    etcd = still()
    etcd.alarms = [{"memberID": 11, "alarm": 1}]
    await recheck(etcd)


def of(etcd: ScriptedEtcd, kind: str, name: str) -> Any:
    return etcd.objects[kind, name]


def stop(etcd: ScriptedEtcd) -> None:
    etcd.objects[CONFIG_MAP.plural, "replace-etcd-stop"] = {"data": {"reason": "bad firmware"}}


def strategy(etcd: ScriptedEtcd) -> None:
    of(etcd, STATEFUL_SET.plural, "kube-etcd")["spec"]["updateStrategy"] = {"type": "RollingUpdate"}


def other_stateful_set(etcd: ScriptedEtcd) -> None:
    of(etcd, STATEFUL_SET.plural, "kube-etcd")["metadata"]["uid"] = "another"


def other_claim(etcd: ScriptedEtcd) -> None:
    of(etcd, CLAIM.plural, PINS.claim)["metadata"]["uid"] = "another"


def claim_going(etcd: ScriptedEtcd) -> None:
    of(etcd, CLAIM.plural, PINS.claim)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def other_node(etcd: ScriptedEtcd) -> None:
    of(etcd, NODE.plural, PINS.node)["metadata"]["uid"] = "another"


def restarted(etcd: ScriptedEtcd) -> None:
    of(etcd, POD.plural, "kube-etcd-2")["metadata"]["uid"] = "another"


def going(etcd: ScriptedEtcd) -> None:
    of(etcd, POD.plural, "kube-etcd-2")["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def stranger(etcd: ScriptedEtcd) -> None:
    etcd.objects[POD.plural, "debug"] = _pod("debug", "uid-d", PINS.claim)


def member_added(etcd: ScriptedEtcd) -> None:
    for member in etcd.members:
        member.listed = [10, 12]
    etcd.members[2].listed = etcd.members[0].listed = [10, 11]


def learner(etcd: ScriptedEtcd) -> None:
    etcd.members[2].learner = True


def other_member(etcd: ScriptedEtcd) -> None:
    etcd.members[2].number = 1


def each_other(etcd: ScriptedEtcd) -> None:
    etcd.members[0].number, etcd.members[2].number = 2, 0


def other_cluster(etcd: ScriptedEtcd) -> None:
    etcd.members[2].cluster = 8


def other_hash(etcd: ScriptedEtcd) -> None:
    etcd.members[2].hash = 98


def alarm(etcd: ScriptedEtcd) -> None:
    etcd.alarms = [{"memberID": 12, "alarm": 1}]


MOVES = [
    (stop, "bad firmware"),
    (strategy, "reverted the edit"),
    (other_stateful_set, "StatefulSet of user-cluster-1 is not the one"),
    (other_claim, "claim data-kube-etcd-1 is not the one"),
    (claim_going, "is being deleted"),
    (other_node, "node node-2 is not the one"),
    (restarted, "survivor kube-etcd-2 was restarted"),
    (going, "survivor kube-etcd-2 is being deleted"),
    (stranger, "pod debug uses data-kube-etcd-1"),
    (member_added, r"the members beside b are \['a'\]"),
    (learner, "member c is a learner"),
    (other_member, "survivor kube-etcd-2 is member b, not c"),
    (each_other, "survivor kube-etcd-0 is member c, not a"),
    (other_cluster, "of clusters"),
    (other_hash, "hashkv differs"),
    (alarm, "NOSPACE of c"),
]


@pytest.mark.parametrize(("move", "said"), MOVES)
async def test_what_will_not_pass_by_itself_has_moved(
    move: Callable[[ScriptedEtcd], None], said: str
) -> None:
    etcd = still()
    move(etcd)
    with pytest.raises(Moved, match=said) as caught:
        await recheck(etcd)
    assert str(caught.value).startswith("before the removal: ")


def node_away(etcd: ScriptedEtcd) -> None:
    of(etcd, NODE.plural, PINS.node)["status"] = {}


def election(etcd: ScriptedEtcd) -> None:
    etcd.members[0].leader = etcd.members[2].leader = 0


def disagreement(etcd: ScriptedEtcd) -> None:
    etcd.members[2].leader = 12


def led_by_the_failed_one(etcd: ScriptedEtcd) -> None:
    etcd.members[0].leader = etcd.members[2].leader = 11


def silent(etcd: ScriptedEtcd) -> None:
    etcd.members[2].answers = False


def behind(etcd: ScriptedEtcd) -> None:
    etcd.members[2].raft_index = 5101


def other_list(etcd: ScriptedEtcd) -> None:
    etcd.members[2].listed = [10, 12]


def compacted(etcd: ScriptedEtcd) -> None:
    etcd.members[2].compacted, etcd.members[2].hash = 2, 98


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (compacted, "could not be compared at one revision"),
        (node_away, "node node-2 is not Ready any more"),
        (election, "follow 0"),
        (disagreement, "follow a, c"),
        (led_by_the_failed_one, "follow b"),
        (silent, "1 survivors of 3 voters are no quorum"),
        (behind, "5001 apart"),
        (other_list, "do not agree"),
    ],
)
async def test_what_may_pass_is_asked_again(move: Callable[[ScriptedEtcd], None], said: str) -> None:
    etcd = still()
    move(etcd)
    with pytest.raises(NotYet, match=said):
        await recheck(etcd)


async def test_of_a_silent_survivor_no_hash_is_asked_for() -> None:
    etcd = still()
    silent(etcd)
    with pytest.raises(NotYet, match="survivor kube-etcd-2 does not answer"):
        await recheck(etcd)
    assert not [asked for asked in etcd.asked if "hashkv" in asked]


async def test_every_reason_is_given_and_what_moved_counts_more() -> None:
    etcd = still()
    for move in (stop, stranger, alarm, election):
        move(etcd)
    with pytest.raises(Moved) as caught:
        await recheck(etcd, Moment.EVICTION)
    assert len(re.findall("; ", str(caught.value))) == 2
    assert str(caught.value).startswith("before the eviction: ")


async def test_what_is_removed_already_is_finished_whoever_stops_the_fleet() -> None:
    etcd = still()
    stop(etcd)
    await recheck(etcd, Moment.EVICTION, is_removed=True)
    with pytest.raises(Moved, match="bad firmware"):
        await recheck(etcd, Moment.EVICTION)


async def test_a_node_that_was_not_ready_before_need_not_be() -> None:
    etcd = still()
    node_away(etcd)
    await recheck(etcd, node_ready=False)


async def test_a_right_that_is_missing_will_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = still()

    async def forbidden(*_: Any) -> Object:
        raise Forbidden(403, "Forbidden", "configmaps is forbidden")

    monkeypatch.setattr("activities.recheck.stop_reason", forbidden)
    with pytest.raises(Moved, match="configmaps is forbidden"):
        await recheck(etcd)
