"""Fencing: what is late, or belongs to another run, changes nothing."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities import etcd_members
from activities import node as node_activities
from activities.etcd_members import EtcdMemberActivities
from activities.fencing import Attempt, fenced
from activities.guarded_patch import guarded_patch
from activities.node import NodeActivities
from activities.replacement_record import RecordActivities
from activities.step import TemporalIdentity, Toolbox
from replace_etcd.cluster import CONFIG_MAP, NODE, Object
from replace_etcd.errors import (
    Forbidden,
    LockLost,
    MoreToPutBack,
    Moved,
    NotYet,
    OutcomeUnknown,
    RemovalDidNotStart,
    RemovalForgotten,
)
from replace_etcd.models.orders import Order, UncordonOrder
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup, Member
from replace_etcd.models.record import TAKEN_BY_HAND, Record
from replace_etcd.models.result import Outcome
from replace_etcd.runs import Chain
from tests.activities.conftest import SETTINGS, Bench, now

FURTHEST = [(Phase.SNAPSHOTTING, RemovalDidNotStart), (Phase.REMOVING, OutcomeUnknown)]


async def read(bench: Bench) -> tuple[Object, Record]:
    config_map = await bench.cluster.get(CONFIG_MAP, SETTINGS.record, bench.pins.user_cluster)
    assert config_map is not None
    return config_map, Record.from_data(config_map["data"])


async def write(bench: Bench, **changes: object) -> None:
    config_map, record = await read(bench)
    data = record.model_copy(update=changes).to_data()
    await bench.cluster.replace(CONFIG_MAP, config_map | {"data": data})


async def is_cordoned(bench: Bench) -> bool:
    node = await bench.cluster.get(NODE, bench.pins.node)
    assert node is not None
    return bool(node["spec"].get("unschedulable"))


async def test_an_order_takes_the_record_and_gives_it_up(bench: Bench) -> None:
    await bench.claim()
    await bench.run(NodeActivities(bench.tools).cordon_node, bench.order(Order, Phase.DRAINING))
    _, record = await read(bench)
    assert (record.generation, record.phase) == (2, Phase.DRAINING)
    assert record.until <= now()
    assert await is_cordoned(bench)


async def test_an_order_of_an_earlier_step_is_late_and_changes_nothing(bench: Bench) -> None:
    await bench.claim()
    early, later = bench.order(Order), bench.order(UncordonOrder)
    node = NodeActivities(bench.tools)
    await bench.run(node.uncordon_node, later)
    with pytest.raises(LockLost, match="is late"):
        await bench.run(node.cordon_node, early)
    assert not await is_cordoned(bench)


async def test_a_retry_waits_until_its_twin_can_act_no_more(bench: Bench) -> None:
    await bench.claim()
    until = now() + timedelta(seconds=2)
    order = bench.order(Order)
    await write(bench, attempt="the-twin", generation=order.fence.generation, until=until)
    await bench.run(NodeActivities(bench.tools).cordon_node, order)
    assert now() > until


async def test_a_twin_that_wakes_up_late_finds_that_it_lost_the_record(bench: Bench) -> None:
    await bench.claim()
    order = bench.order(Order)
    sleeper = Attempt(bench.tools, order)

    async def take_turns() -> None:
        await sleeper.begin()
        await write(bench, until=now() - timedelta(seconds=1))
        other = Attempt(bench.tools, order)
        await other.begin()
        with pytest.raises(LockLost, match="has been taken"):
            await sleeper.hold()
        await other.hold()

    await in_an_activity(take_turns)


async def test_an_attempt_gives_up_its_own_record_and_keeps_what_others_wrote(bench: Bench) -> None:
    await bench.claim()
    early, late = (Attempt(bench.tools, bench.order(Order)) for _ in range(2))

    async def take_turns() -> None:
        await early.begin()
        await write(bench, reason="somebody else's words")
        await early.end()
        _, record = await read(bench)
        assert (record.reason, record.until <= now()) == ("somebody else's words", True)
        with pytest.raises(LockLost):
            await early.hold()
        await late.begin()
        await early.end()
        _, record = await read(bench)
        assert (record.attempt, record.until > now()) == (late.token, True)

    await in_an_activity(take_turns)


async def test_what_goes_on_has_no_outcome_any_more(bench: Bench) -> None:
    """A reset of a run that was abandoned: the janitor would take it for concluded, whatever became of it."""
    await bench.claim()
    await write(bench, outcome=Outcome.LEFT_INCOMPLETE)
    await in_an_activity(Attempt(bench.tools, bench.order(Order)).begin)
    assert (await read(bench))[1].outcome is None


async def test_the_phase_is_written_before_the_change_that_it_announces(bench: Bench) -> None:
    await bench.claim()
    attempt = Attempt(bench.tools, bench.order(Order, Phase.DRAINING))

    async def announce() -> None:
        await attempt.begin()
        await attempt.hold(Phase.REMOVING)
        _, record = await read(bench)
        assert record.phase is Phase.REMOVING

    await in_an_activity(announce)


async def test_settling_a_removal_is_idempotent_and_keeps_the_phase(bench: Bench) -> None:
    """A first attempt whose answer was lost must not make the second one forget the removal."""
    await bench.claim()
    await write(bench, phase=Phase.REMOVING, furthest=Phase.REMOVING)
    members = EtcdMemberActivities(bench.tools)
    order = bench.order(Order, Phase.DRAINING)
    for _ in range(2):
        assert (await bench.run(members.settle_removal, order)).may_be_sent
    assert (await read(bench))[1].phase is Phase.REMOVING


async def test_asking_whether_a_removal_was_sent_is_no_sign_of_one(bench: Bench) -> None:
    """Else a run that is reset to somewhere on its way back would take itself for one that forgot a removal."""
    await bench.claim()
    await write(bench, phase=Phase.SNAPSHOTTING, furthest=Phase.SNAPSHOTTING)
    order = bench.order(Order, Phase.REMOVING)
    for _ in range(2):
        assert not (await bench.run(EtcdMemberActivities(bench.tools).settle_removal, order)).may_be_sent
    assert (await read(bench))[1].furthest is Phase.SNAPSHOTTING


async def test_the_record_names_the_node_of_the_latest_plan(bench: Bench) -> None:
    """The pod of a dead node comes up on another one: it is that one which is to be given up."""
    await bench.claim()
    order = bench.order(Order)
    elsewhere = order.model_copy(update={"pins": order.pins.model_copy(update={"node": "elsewhere"})})
    await in_an_activity(Attempt(bench.tools, elsewhere).begin)
    _, record = await read(bench)
    assert record.pins is not None
    assert (record.node, record.pins.node) == ("elsewhere", "elsewhere")


async def test_without_the_record_a_removal_may_have_been_sent(bench: Bench) -> None:
    order = bench.order(Order, Phase.REMOVING)
    assert (await bench.run(EtcdMemberActivities(bench.tools).settle_removal, order)).may_be_sent


async def test_no_order_lowers_the_phase_past_the_removal(bench: Bench) -> None:
    await bench.claim()
    await write(bench, phase=Phase.REMOVING, furthest=Phase.REMOVING)
    await bench.run(NodeActivities(bench.tools).cordon_node, bench.order(Order, Phase.DRAINING))
    assert (await read(bench))[1].phase is Phase.REMOVING


async def test_a_reset_to_before_the_removal_does_not_forget_it(bench: Bench) -> None:
    await bench.claim()
    await write(bench, phase=Phase.CLEANING, furthest=Phase.CLEANING)
    bench.runs.newest["the-reset"] = True
    for phase in (Phase.DRAINING, Phase.ROLLING_BACK):
        reset = UncordonOrder(pins=bench.pins, fence=bench.fence(9, phase, run_id="the-reset"))
        with pytest.raises(RemovalForgotten):
            await bench.run(NodeActivities(bench.tools).uncordon_node, reset)


async def test_a_reset_can_ask_what_became_of_the_removal(bench: Bench) -> None:
    """Else it could neither go back nor rest."""
    await bench.claim()
    await write(bench, phase=Phase.REMOVING, furthest=Phase.REMOVING)
    bench.runs.newest["the-reset"] = True
    asking = Order(pins=bench.pins, fence=bench.fence(9, Phase.REMOVING, run_id="the-reset"))
    settled = await bench.run(EtcdMemberActivities(bench.tools).settle_removal, asking)
    assert settled.may_be_sent  # there are no survivors here to say that it is lost


async def test_the_newest_run_of_a_chain_counts_however_late_the_other_wrote(bench: Bench) -> None:
    """An activity of the run that was reset may write until it hears of its end."""
    await bench.claim()
    reset = Order(pins=bench.pins, fence=bench.fence(9, Phase.DRAINING, run_id="the-reset"))
    bench.runs.newest["the-reset"] = True
    await write(bench, updated_at=now() + timedelta(seconds=60))
    await bench.run(NodeActivities(bench.tools).cordon_node, reset)
    assert (await read(bench))[1].run_id == "the-reset"


async def test_a_run_that_was_reset_is_late_however_new_its_order_is(bench: Bench) -> None:
    await bench.claim()
    await write(bench, run_id="the-reset", updated_at=now() - timedelta(seconds=60))
    bench.runs.newest[bench.run_id] = False
    with pytest.raises(LockLost, match="is late"):
        await bench.run(NodeActivities(bench.tools).cordon_node, bench.order(Order, Phase.DRAINING))


async def test_an_older_attempt_does_not_take_the_record_from_a_newer_one(bench: Bench) -> None:
    await bench.claim()
    order = bench.order(Order)
    newer = {"attempt": "the-newer", "attempt_number": 2, "generation": order.fence.generation}
    await write(bench, until=now() - timedelta(seconds=1), **newer)
    with pytest.raises(LockLost, match="is late"):
        await bench.run(NodeActivities(bench.tools).cordon_node, order)


async def test_the_node_is_given_back_where_the_namespace_is_gone(bench: Bench) -> None:
    await bench.claim()
    node = NodeActivities(bench.tools)
    await bench.run(node.cordon_node, bench.order(Order))
    bench.pins = bench.pins.model_copy(update={"user_cluster": "no-such-namespace"})
    holder = {
        "op": "add",
        "path": "/metadata/annotations/replace-etcd~1cordon.no-such-namespace",
        "value": "cordoned",
    }
    found = await bench.cluster.get(NODE, bench.pins.node)
    assert found is not None
    mine = next(key for key in found["metadata"]["annotations"] if key.startswith("replace-etcd/"))
    gone = {"op": "remove", "path": f"/metadata/annotations/{mine.replace('/', '~1')}"}
    await bench.cluster.patch(NODE, bench.pins.node, None, [holder, gone])
    await bench.run(node.uncordon_node, bench.order(UncordonOrder, Phase.ROLLING_BACK))
    assert not await is_cordoned(bench)


async def test_a_second_replacement_cannot_claim_the_record(bench: Bench) -> None:
    await bench.claim()
    other = Order(pins=bench.pins, fence=bench.fence(1, first_run_id="another", run_id="another"))
    with pytest.raises(LockLost, match="another replacement is under way"):
        await bench.run(RecordActivities(bench.tools).claim_replacement_record, other)


async def test_the_same_workflow_id_on_another_temporal_is_another_replacement(bench: Bench) -> None:
    await bench.claim()
    elsewhere = Toolbox(bench.cluster, SETTINGS, TemporalIdentity("temporal-2", "default"), bench.runs)
    with pytest.raises(LockLost):
        await bench.run(NodeActivities(elsewhere).cordon_node, bench.order(Order))
    assert not await is_cordoned(bench)


async def test_a_record_is_taken_over_by_the_run_whose_plan_names_it(bench: Bench) -> None:
    """It keeps what no state can tell, and remembers whose heir it is."""
    await bench.claim()
    backup = Backup(manifest={"spec": {"minAvailable": 2}})
    await write(
        bench, furthest=Phase.CLEANING, backup=backup, new_member_id="b2", outcome=Outcome.LEFT_INCOMPLETE
    )
    heir = bench.fence(1, first_run_id="another", run_id="another", heir_of=[bench.run_id])
    await bench.run(
        RecordActivities(bench.tools).claim_replacement_record, Order(pins=bench.pins, fence=heir)
    )
    _, record = await read(bench)
    assert (record.first_run_id, record.heir_of, record.outcome) == ("another", [bench.run_id], None)
    assert (record.furthest, record.backup, record.new_member_id) == (Phase.CLEANING, backup, "b2")


async def test_a_record_that_the_plan_did_not_see_is_not_taken_over(bench: Bench) -> None:
    await bench.claim()
    await write(bench, outcome=Outcome.LEFT_INCOMPLETE)
    other = Order(pins=bench.pins, fence=bench.fence(1, first_run_id="another", run_id="another"))
    with pytest.raises(LockLost, match="another replacement"):
        await bench.run(RecordActivities(bench.tools).claim_replacement_record, other)


async def test_claiming_twice_is_claiming_once(bench: Bench) -> None:
    await bench.claim()
    await bench.claim()


async def test_a_forward_step_gives_up_where_the_record_is_gone(bench: Bench) -> None:
    with pytest.raises(Moved, match="is gone"):
        await bench.run(NodeActivities(bench.tools).cordon_node, bench.order(Order))


async def test_a_compensation_writes_the_record_again_where_it_is_gone(bench: Bench) -> None:
    await bench.claim()
    node = NodeActivities(bench.tools)
    await bench.run(node.cordon_node, bench.order(Order))
    config_map, _ = await read(bench)
    metadata = config_map["metadata"]
    await bench.cluster.delete(CONFIG_MAP, metadata["name"], metadata["namespace"], uid=metadata["uid"])
    await bench.run(node.uncordon_node, bench.order(UncordonOrder, Phase.ROLLING_BACK))
    assert not await is_cordoned(bench)


@pytest.mark.parametrize(
    ("chain", "refusal"),
    [(Chain.CLOSED, LockLost), (Chain.SUCCEEDED_BY, LockLost), (Chain.UNKNOWN, NotYet)],
)
async def test_a_record_that_went_last_is_not_written_again(
    bench: Bench, chain: Chain, refusal: type[Exception]
) -> None:
    """A frozen worker wakes up when its run has ended: no record and no cordon come back."""
    bench.runs.states[bench.run_id] = chain
    with pytest.raises(refusal):
        await bench.run(NodeActivities(bench.tools).cordon_node, bench.order(Order, Phase.CLEANING))
    assert await bench.cluster.get(CONFIG_MAP, SETTINGS.record, bench.pins.user_cluster) is None
    assert not await is_cordoned(bench)


async def test_deleting_the_record_comes_last_and_is_idempotent(bench: Bench) -> None:
    await bench.claim()
    record = RecordActivities(bench.tools)
    order = bench.order(Order, Phase.VERIFYING)
    await bench.run(record.delete_replacement_record, order)
    await bench.run(record.delete_replacement_record, order)
    assert await bench.cluster.get(CONFIG_MAP, SETTINGS.record, bench.pins.user_cluster) is None


def the_reset(bench: Bench, **changes: object) -> UncordonOrder:
    """An order to go back, of a run that is a reset of the one that has the record."""
    bench.runs.newest["the-reset"] = True
    fence = bench.fence(9, Phase.ROLLING_BACK, run_id="the-reset", **changes)
    return UncordonOrder(pins=bench.pins, fence=fence)


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_reset_puts_nothing_back_before_it_knows_all_that_was_begun(
    bench: Bench, recorded: bool
) -> None:
    """Not even where the record is gone; and nothing in it is written over by the pins of the reset."""
    if recorded:
        await bench.claim()
        before = await read(bench)
    order = the_reset(bench, every_way_back=False)
    with pytest.raises(MoreToPutBack, match="may have begun more than it knows of"):
        await bench.run(NodeActivities(bench.tools).uncordon_node, order)
    with pytest.raises(MoreToPutBack):
        await bench.run(RecordActivities(bench.tools).delete_replacement_record, order)
    if recorded:
        assert await read(bench) == before
        await bench.run(NodeActivities(bench.tools).uncordon_node, the_reset(bench))
    else:
        assert await bench.cluster.get(CONFIG_MAP, SETTINGS.record, bench.pins.user_cluster) is None


async def test_a_reset_gives_up_every_node_that_the_user_cluster_has(bench: Bench) -> None:
    """Its pod has moved from the node of a run that was reset; what others hold stays theirs."""
    await bench.claim()
    node = NodeActivities(bench.tools)
    await bench.run(node.cordon_node, bench.order(Order, Phase.DRAINING))
    there = bench.pins.model_copy(update={"node": "node-of-before", "node_uid": "uid-of-before"})
    order = the_reset(bench).model_copy(update={"pins": there})
    own = bench.order(UncordonOrder, Phase.ROLLING_BACK).model_copy(update={"pins": there})
    for only_its_own in (own, order.model_copy(update={"keeps_it": True})):
        await bench.run(node.uncordon_node, only_its_own)
        assert await is_cordoned(bench)
    done = await bench.run(node.uncordon_node, order)
    assert done.note.endswith(f"{bench.pins.node} is given up, too")
    assert not await is_cordoned(bench)


async def test_a_further_node_that_takes_no_patch_does_not_keep_the_rest_from_going_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> None:
        raise Forbidden(403, "Forbidden", "a webhook says no")

    await bench.claim()
    node = NodeActivities(bench.tools)
    await bench.run(node.cordon_node, bench.order(Order, Phase.DRAINING))
    monkeypatch.setattr(node_activities, "give_node_up", refused)
    elsewhere = bench.pins.model_copy(update={"node": "node-of-before"})
    order = the_reset(bench).model_copy(update={"pins": elsewhere})
    done = await bench.run(node.uncordon_node, order)
    assert f"{bench.pins.node} cannot be given up: 403 Forbidden: a webhook says no" in done.note


async def test_a_reset_recalls_the_pins_by_which_something_was_begun(bench: Bench) -> None:
    """A pod that moved was evicted from another node than the one that the reset knows."""
    recall = EtcdMemberActivities(bench.tools).recall_what_was_begun
    order = the_reset(bench)
    await bench.claim()
    moved = bench.pins.model_copy(update={"node": "another"})
    await write(bench, pins=moved, furthest=Phase.DRAINING)
    assert (await bench.run(recall, order)).pins == moved
    await write(bench, pins=None)
    assert (await bench.run(recall, order)).pins == bench.pins, "a record of an older release"


async def test_a_reset_that_recalls_a_removal_has_no_way_back(bench: Bench) -> None:
    """Not even where an order of a hold, which passes the fence, has made the record the reset's own."""
    await bench.claim()
    await write(bench, furthest=Phase.REMOVING, run_id="the-reset")
    recalled = await bench.run(EtcdMemberActivities(bench.tools).recall_what_was_begun, the_reset(bench))
    assert (recalled.way_back, recalled.furthest) == (False, Phase.REMOVING)


async def test_a_record_that_says_past_the_removal_needs_no_survivors_word(bench: Bench) -> None:
    await bench.claim()
    await write(bench, furthest=Phase.CLEANING)
    recalled = await bench.run(EtcdMemberActivities(bench.tools).recall_what_was_begun, the_reset(bench))
    assert (recalled.way_back, recalled.is_removed) == (False, True)


async def test_somebody_elses_record_is_nothing_to_recall(bench: Bench) -> None:
    recall = EtcdMemberActivities(bench.tools).recall_what_was_begun
    await bench.claim()
    with pytest.raises(LockLost, match="belongs to"):
        await bench.run(recall, the_reset(bench, first_run_id="another"))
    await write(bench, taken_by_hand="ann")
    with pytest.raises(LockLost, match="ann"):
        await bench.run(recall, the_reset(bench))


async def in_an_activity(block: object) -> None:
    from temporalio.testing import ActivityEnvironment  # noqa: PLC0415

    await asyncio.wait_for(ActivityEnvironment().run(block), 60)  # type: ignore[arg-type]


@pytest.mark.parametrize("answered", [True, False])
async def test_a_step_that_is_stopped_between_its_changes_gives_the_record_up_at_once(
    bench: Bench, answered: bool
) -> None:
    """One whose last change has no answer yet keeps it, until that change can take effect no more."""
    await bench.claim()

    async def stopped() -> None:
        async with fenced(bench.tools, bench.order(Order)) as attempt:
            await attempt.hold()
            if answered:
                attempt.settled()
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await in_an_activity(stopped)
    _, record = await read(bench)
    assert (record.until <= now()) is answered


async def test_a_patch_that_has_its_answer_is_not_under_way_any_more(bench: Bench) -> None:
    """What is stopped behind it, like the guard of a hold, gives the record up, and the next order need not wait."""
    await bench.claim()

    async def stopped() -> None:
        async with fenced(bench.tools, bench.order(Order)) as attempt:
            cordoned = [{"op": "add", "path": "/spec/unschedulable", "value": True}]
            await guarded_patch(bench.tools, attempt, NODE, bench.pins.node, None, change=lambda _: cordoned)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await in_an_activity(stopped)
    assert await is_cordoned(bench)
    assert (await read(bench))[1].until <= now()


async def take_by_hand(bench: Bench) -> None:
    """What the words of the record tell a person to do first."""
    name, namespace = SETTINGS.record, bench.pins.user_cluster
    taken = {"op": "add", "path": f"/data/{TAKEN_BY_HAND}", "value": "ann"}
    await bench.cluster.patch(CONFIG_MAP, name, namespace, [taken])


async def test_a_record_that_a_person_has_taken_lets_no_order_change_anything(bench: Bench) -> None:
    await bench.claim()
    order = bench.order(Order)
    under_way = Attempt(bench.tools, order)

    async def taken_in_the_middle() -> None:
        await under_way.begin()
        await take_by_hand(bench)
        with pytest.raises(LockLost, match="ann has taken"):
            await under_way.hold()
        await under_way.end()

    await ActivityEnvironment().run(taken_in_the_middle)
    with pytest.raises(LockLost, match="ann has taken"):
        await bench.run(NodeActivities(bench.tools).cordon_node, bench.order(Order))
    assert not await is_cordoned(bench)
    assert (await read(bench))[1].taken_by_hand == "ann"


async def test_a_record_that_a_person_has_taken_cannot_be_claimed(bench: Bench) -> None:
    await bench.claim()
    await take_by_hand(bench)
    with pytest.raises(LockLost, match="ann has taken"):
        await bench.claim()
    heir = bench.fence(1, first_run_id="another", run_id="another")
    order = Order(pins=bench.pins, fence=heir.model_copy(update={"heir_of": [bench.run_id]}))
    with pytest.raises(LockLost, match="ann has taken"):
        await bench.run(RecordActivities(bench.tools).claim_replacement_record, order)


async def test_a_first_removal_whose_record_is_gone_was_certainly_not_sent(bench: Bench) -> None:
    """Then there is a way back; a later attempt cannot know what the one before it has sent."""
    remove = EtcdMemberActivities(bench.tools).remove_member
    order = bench.order(Order, Phase.SNAPSHOTTING)
    with pytest.raises(RemovalDidNotStart, match="is gone"):
        await bench.run(remove, order)
    heir = order.model_copy(update={"fence": order.fence.model_copy(update={"heir_of": ["run-0"]})})
    with pytest.raises(OutcomeUnknown, match="is gone"):
        await bench.run(remove, heir)
    reset = order.model_copy(update={"fence": order.fence.model_copy(update={"run_id": "another"})})
    with pytest.raises(OutcomeUnknown, match="is gone"):
        await bench.run(remove, reset)
    second = ActivityEnvironment()
    second.info = dataclasses.replace(second.info, attempt=2)
    with pytest.raises(OutcomeUnknown, match="is gone"):
        await second.run(remove, order)


@pytest.mark.parametrize(("furthest", "error"), FURTHEST)
async def test_a_record_that_is_lost_right_before_the_removal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, furthest: Phase, error: type[Exception]
) -> None:
    """Nothing was sent by this attempt, nor by an earlier one, as the record said while it was there."""
    await bench.claim()
    await write(bench, furthest=furthest, phase=furthest)
    activities = EtcdMemberActivities(bench.tools)

    async def members(*_: object) -> list[Member]:
        uid, namespace = (await read(bench))[0]["metadata"]["uid"], bench.pins.user_cluster
        await bench.cluster.delete(CONFIG_MAP, SETTINGS.record, namespace, uid=uid)
        return [Member(id=bench.pins.member_id, name=bench.pins.member_name, peer_urls=[])]

    async def safe(*_: object) -> None:
        return None

    monkeypatch.setattr(activities._survivors, "members", members)
    monkeypatch.setattr(activities, "_must_be_safe", safe)
    with pytest.raises(error, match="is gone"):
        await bench.run(activities.remove_member, bench.order(Order, Phase.SNAPSHOTTING))


def before_the_removal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> EtcdMemberActivities:
    """The member is listed still, and no removal of it may be sent."""
    activities = EtcdMemberActivities(bench.tools)

    async def members(*_: object) -> list[Member]:
        return [Member(id=bench.pins.member_id, name=bench.pins.member_name, peer_urls=[])]

    async def sent(*_: object, **__: object) -> None:
        raise AssertionError("a removal was sent")

    monkeypatch.setattr(activities._survivors, "members", members)
    monkeypatch.setattr(activities, "_send_removal", sent)
    return activities


@pytest.mark.parametrize("phase", [Phase.PROTECTING, Phase.HELD])
@pytest.mark.parametrize(("is_lost", "error"), [(True, RemovalDidNotStart), (False, NotYet)])
async def test_a_removal_sent_before_a_hold_or_by_an_earlier_run_is_no_reason_to_send_another_unseen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, phase: Phase, is_lost: bool, error: type[Exception]
) -> None:
    """The last look was before that one: nothing is sent while it may be applied, nor where the world has moved."""
    await bench.claim()
    await write(bench, furthest=Phase.REMOVING, phase=phase)
    activities = before_the_removal(bench, monkeypatch)

    async def lost(*_: object) -> bool:
        return is_lost

    async def moved(*_: object) -> None:
        raise Moved("somebody reverted the edit")

    monkeypatch.setattr(activities, "_is_lost", lost)
    monkeypatch.setattr(activities, "_must_be_safe", moved)
    with pytest.raises(error):
        await bench.run(activities.remove_member, bench.order(Order, Phase.SNAPSHOTTING))
    _, record = await read(bench)
    assert record.furthest is (Phase.DRAINING if is_lost else Phase.REMOVING)


LAST_LOOKS = ("must_hold_still", "must_be_cordoned", "must_be_unscheduled", "must_be_silent")


@pytest.mark.parametrize("refusing", LAST_LOOKS)
async def test_each_part_of_the_last_look_keeps_the_removal_from_being_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    await bench.claim()
    activities = before_the_removal(bench, monkeypatch)

    def look(name: str) -> Callable[..., Awaitable[None]]:
        async def looked(*_: object, **__: object) -> None:
            if name == refusing:
                raise Moved(f"{name} refuses")

        return looked

    for name in LAST_LOOKS[:-1]:
        monkeypatch.setattr(etcd_members, name, look(name))
    monkeypatch.setattr(activities._survivors, LAST_LOOKS[-1], look(LAST_LOOKS[-1]))
    with pytest.raises(RemovalDidNotStart, match=f"{refusing} refuses"):
        await bench.run(activities.remove_member, bench.order(Order, Phase.SNAPSHOTTING))
