"""After the removal a step that does not go through holds and asks; a dead node asks before anything changes."""

import asyncio
from typing import Any

import pytest
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError, CancelledError

from replace_etcd.models.orders import NodeTaken, Preflighted, RemovalSettled
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup, Plan, Resume
from replace_etcd.models.result import Outcome, Progress, ReplacementResult
from tests.workflows.conftest import Stage
from tests.workflows.script import BACKUP, PINS, PLAN, REFUSING
from tests.workflows.test_compensation import BUDGET, FLAG, POD, RESTED, UNCORDON, UTILITY
from tests.workflows.test_order_of_steps import JOIN, MAKE_ROOM, RESTORE
from workflows.saga import ROLL_BACK_ORDER

Handle = WorkflowHandle[Any, ReplacementResult]
JOINED = [
    "claim_replacement_record",
    "back_up_pod_disruption_budget",
]  # nothing is emptied: the node is not needed
REJOIN = [*JOIN[2:], *RESTORE]


def resuming(step: Phase, **fields: Any) -> Plan:
    """A plan that goes on from a step."""
    removed = step is not Phase.PROTECTING
    pins = PINS.model_copy(update={"is_removed": removed})
    resume = Resume(step=step, why="a test", backup=Backup(), heir_of=["an-earlier-run"], **fields)
    return PLAN.model_copy(update={"pins": pins, "resume": resume})


def dead_node(*, can_move: bool) -> Plan:
    pins = PINS.model_copy(update={"node_ready": False, "volume_can_move": can_move})
    return PLAN.model_copy(update={"pins": pins})


async def asked(handle: Handle) -> Progress:
    """Wait until it waits for somebody's word."""
    while True:
        progress = Progress.model_validate(await handle.query("progress"))
        if progress.waiting_for:
            return progress


async def held(stage: Stage, failing: str, kind: str = "Invalid") -> Handle:
    """A replacement that holds because this step failed; it goes on standing guard until somebody speaks."""
    stage.script.fail(failing, kind)
    guarding = stage.script.block("stand_guard")
    handle = await stage.start()
    await asyncio.wait_for(guarding.wait(), 30)
    guarding.clear()
    return handle


@pytest.mark.parametrize("failing", [*JOIN[1:], *RESTORE])
async def test_a_step_past_the_removal_rests_safely_and_asks(stage: Stage, failing: str) -> None:
    handle = await held(stage, failing)
    progress = await asked(handle)
    assert progress.phase is Phase.HELD
    assert progress.choices == ["resolve retry", "resolve abandon"]
    assert progress.deadline is not None
    assert stage.script.calls[-5:] == RESTED[:-1]
    assert failing in stage.script.orders["note_hold"]["reason"]
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann", "reason": "tomorrow"})
    error, result = await stage.failure(handle)
    assert (error.type, result.outcome) == ("LeftIncomplete", Outcome.LEFT_INCOMPLETE)
    assert "abandoned by ann: tomorrow" in error.message
    assert stage.script.calls[-1] == "close_replacement_record"
    assert not {FLAG, POD} & set(stage.script.calls)


async def test_retry_looks_again_and_goes_on_from_what_is_there(stage: Stage) -> None:
    handle = await held(stage, "promote_member")
    before = len(stage.script.calls)
    stage.script.answers["preflight"] = Preflighted(plan=resuming(Phase.ADDING, new_member_id="b2"))
    await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})
    result = await handle.result()
    assert result.outcome is Outcome.REPLACED
    again = ["preflight", "claim_replacement_record", "back_up_pod_disruption_budget"]
    again += ["protect_survivors", "join_existing_on_delete"]
    assert stage.script.calls[before:] == [*again, *REJOIN]


async def test_a_retry_that_is_refused_holds_again_with_the_refusal(stage: Stage) -> None:
    handle = await held(stage, "add_member")
    stage.script.answers["preflight"] = Preflighted(plan=REFUSING)
    await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})
    await asyncio.wait_for(stage.script.begun["stand_guard"].wait(), 30)
    assert "1 of 3 (recover it)" in stage.script.orders["note_hold"]["reason"]
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    _, result = await stage.failure(handle)
    assert result.outcome is Outcome.LEFT_INCOMPLETE


async def test_a_hold_that_nobody_ends_is_left_incomplete_in_the_end(stage: Stage) -> None:
    stage.script.fail("add_member")
    error, _ = await stage.failure(await stage.start(limits={"hold": "PT3H"}))
    assert error.type == "LeftIncomplete"
    assert "nobody said `retry` in time" in error.message


async def test_a_stop_while_it_holds_leaves_it(stage: Stage) -> None:
    handle = await held(stage, "add_member")
    await handle.cancel()
    _, result = await stage.failure(handle)
    assert result.outcome is Outcome.LEFT_INCOMPLETE
    assert result.cancel_requested


async def test_a_run_that_lost_the_record_does_not_hold(stage: Stage) -> None:
    stage.script.fail("add_member", "LockLost")
    error, _ = await stage.failure(await stage.start())
    assert error.type == "LeftIncomplete"
    assert stage.script.calls[-1] == "add_member"


@pytest.mark.parametrize(
    ("step", "steps"),
    [
        (Phase.PROTECTING, [*MAKE_ROOM[1:], *JOIN, *RESTORE]),
        (
            Phase.CLEANING,
            [
                *MAKE_ROOM[1:4],
                "protect_survivors",
                *MAKE_ROOM[4:7],
                "evict_failed_pod",
                "protect_survivors",
                "wait_until_failed_pod_is_gone",
                *JOIN[1:],
                *RESTORE,
            ],
        ),
        (Phase.ADDING, [*JOINED, "protect_survivors", "join_existing_on_delete", *REJOIN]),
        (Phase.RESTORING, [*JOINED, *RESTORE]),
    ],
)
async def test_a_half_done_replacement_goes_on_where_it_was_left(
    stage: Stage, step: Phase, steps: list[str]
) -> None:
    plan = resuming(step, new_member_id="b2" if step in (Phase.ADDING, Phase.RESTORING) else None)
    stage.script.answers["preflight"] = Preflighted(plan=plan)
    result = await stage.run()
    assert stage.script.calls == ["preflight", *steps]
    assert (result.outcome, result.resumed_from, result.new_member_id) == (Outcome.REPLACED, step, "b2")
    assert stage.script.orders["claim_replacement_record"]["fence"]["heir_of"] == ["an-earlier-run"]


async def test_the_alarm_that_a_removed_member_has_left_is_disarmed_before_anything_else(
    stage: Stage,
) -> None:
    """An earlier run ended between the removal and the disarm: until then every write is refused."""
    plan = resuming(Phase.CLEANING, alarm_stands=True)
    stage.script.answers["preflight"] = Preflighted(plan=plan)
    assert (await stage.run()).outcome is Outcome.REPLACED
    emptied = stage.script.calls.index("disarm_alarm_of_removed_member")
    assert stage.script.calls[emptied - 1 : emptied + 2] == [
        "claim_replacement_record",
        "disarm_alarm_of_removed_member",
        "take_node",  # which may wait for days
    ]


async def test_a_run_that_was_reset_to_before_the_removal_looks_again(stage: Stage) -> None:
    """Its record says that the member is removed: it goes on from there, and puts no flag back."""
    stage.script.fail("join_existing_on_delete", "RemovalForgotten")
    begun = stage.script.block("join_existing_on_delete")
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    stage.script.answers["preflight"] = Preflighted(plan=resuming(Phase.ADDING, new_member_id="b2"))
    stage.script.release("join_existing_on_delete")
    result = await handle.result()
    assert result.outcome is Outcome.REPLACED
    assert not {FLAG, POD, "remove_member", "clean_data_directory"} & set(stage.script.calls)


@pytest.mark.parametrize("why", ["UtilityPodGone", "VolumeTaken"])
async def test_room_that_somebody_takes_is_made_once_more(stage: Stage, why: str) -> None:
    """After a reset, an eviction of the utility Pod, an uncordon: nobody has to be asked."""
    stage.script.fail("clean_data_directory", why)
    begun = stage.script.block("clean_data_directory")
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    stage.script.answers["preflight"] = Preflighted(plan=resuming(Phase.CLEANING))
    stage.script.release("clean_data_directory")
    result = await handle.result()
    assert result.outcome is Outcome.REPLACED
    assert stage.script.calls.count("create_utility_pod") == 2
    assert not {FLAG, POD, "note_hold"} & set(stage.script.calls)


async def test_somebody_who_deletes_every_utility_pod_is_asked(stage: Stage) -> None:
    gone = ApplicationError("the utility Pod is gone", type="UtilityPodGone", non_retryable=True)
    stage.script.always["clean_data_directory"] = gone
    stage.script.answers["preflight"] = Preflighted(plan=resuming(Phase.CLEANING))
    guarding = stage.script.block("stand_guard")
    handle = await stage.start()
    await asyncio.wait_for(guarding.wait(), 30)
    assert stage.script.calls.count("create_utility_pod") == 4
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    await stage.failure(handle)


@pytest.mark.parametrize("step", [Phase.CLEANING, Phase.ADDING, Phase.RESTORING])
async def test_a_resumed_run_never_puts_the_flag_back_by_compensation(stage: Stage, step: Phase) -> None:
    stage.script.answers["preflight"] = Preflighted(plan=resuming(step, new_member_id="b2"))
    stage.script.fail("restore_update_strategy")
    error, _ = await stage.failure(await stage.start())
    assert error.type == "LeftIncomplete"
    assert FLAG not in stage.script.calls
    assert [name for name in stage.script.calls if name in (BUDGET, UTILITY, UNCORDON)][-3:] == [
        BUDGET,
        UTILITY,
        UNCORDON,
    ]


@pytest.mark.parametrize("during", ["preflight", "drain_node", "take_snapshot"])
async def test_an_abort_before_the_removal_ends_as_cancelled(stage: Stage, during: str) -> None:
    begun = stage.script.block(during)
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    stage.script.requests_cancellation_of = handle
    await handle.execute_update("abort", {"by": "ann", "reason": "wrong cluster"})
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    undone = [] if during == "preflight" else list(ROLL_BACK_ORDER)
    assert [name for name in stage.script.calls if name in ROLL_BACK_ORDER] == undone
    assert stage.script.calls[-1] == "request_cancellation"


async def test_an_abort_after_the_removal_finishes_forward(stage: Stage) -> None:
    begun = stage.script.block("add_member")
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    await handle.execute_update("abort", {"by": "ann"})
    stage.script.release("add_member")
    result = await handle.result()
    assert (result.outcome, result.cancel_requested) == (Outcome.REPLACED, True)
    assert "request_cancellation" not in stage.script.calls


async def test_a_dead_node_asks_before_anything_changes(stage: Stage) -> None:
    stage.script.answers["preflight"] = Preflighted(plan=dead_node(can_move=False))
    handle = await stage.start()
    progress = await asked(handle)
    assert progress.phase is Phase.HELD
    assert progress.choices == ["resolve retry", "resolve abandon", "abort"]
    assert stage.script.calls == ["preflight", "claim_replacement_record", "note_hold"]
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update("confirm_node_down", {"by": "ann"})
    assert "does not wait for confirm_node_down" in str(caught.value.cause)
    stage.script.answers["preflight"] = Preflighted(plan=PLAN)
    await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})
    assert (await handle.result()).outcome is Outcome.REPLACED
    assert "delete_pod_of_dead_node" not in stage.script.calls


async def test_a_machine_that_is_confirmed_to_be_off_lets_its_pod_go(stage: Stage) -> None:
    stage.script.answers["preflight"] = Preflighted(plan=dead_node(can_move=True))
    handle = await stage.start()
    assert "confirm_node_down" in (await asked(handle)).choices
    stage.script.answers["preflight"] = Preflighted(plan=PLAN)
    await handle.execute_update("confirm_node_down", {"by": "ann", "reason": "power is off"})
    assert (await handle.result()).outcome is Outcome.REPLACED
    order = stage.script.orders["delete_pod_of_dead_node"]
    assert (order["by"], order["reason"]) == ("ann", "power is off")


async def test_a_dead_node_that_is_given_up_leaves_nothing(stage: Stage) -> None:
    stage.script.answers["preflight"] = Preflighted(plan=dead_node(can_move=True))
    handle = await stage.start()
    await asked(handle)
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    error, _ = await stage.failure(handle)
    assert error.type == "RolledBack"
    assert stage.script.calls[-1] == "delete_replacement_record"


async def test_a_node_that_had_to_be_waited_for_is_looked_at_again(stage: Stage) -> None:
    stage.script.answers["take_node"] = NodeTaken(waited=True)
    result = await stage.run()
    assert result.outcome is Outcome.REPLACED
    assert stage.script.calls.count("preflight") == 2
    assert stage.script.orders["take_node"]["fence"]["phase"] == "waiting_for_node"


async def test_a_world_that_moved_while_the_node_was_waited_for_is_put_back(stage: Stage) -> None:
    stage.script.answers["take_node"] = NodeTaken(waited=True)
    begun = stage.script.block("take_node")
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    stage.script.answers["preflight"] = Preflighted(plan=REFUSING)
    stage.script.release("take_node")
    error, _ = await stage.failure(handle)
    assert error.type == "RolledBack"
    assert stage.script.calls[-2:] == [UNCORDON, "delete_replacement_record"]


async def test_a_pod_that_left_the_node_that_was_taken_for_it_gives_that_node_back(stage: Stage) -> None:
    stage.script.answers["take_node"] = NodeTaken(waited=True)
    begun = stage.script.block("take_node")
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    moved = PLAN.model_copy(update={"pins": PINS.model_copy(update={"node": "elsewhere"})})
    stage.script.answers["preflight"] = Preflighted(plan=moved)
    stage.script.release("take_node")
    error, _ = await stage.failure(handle)
    assert (error.type, "has left" in error.message) == ("RolledBack", True)
    assert stage.script.orders[UNCORDON]["pins"]["node"] == PINS.node


async def test_words_that_nobody_waits_for_are_rejected(stage: Stage) -> None:
    begun = stage.script.block("drain_node")
    handle = await stage.start()
    await begun.wait()
    for name, word in (("resolve", {"choice": "retry", "by": "ann"}), ("confirm_node_down", {"by": "ann"})):
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update(name, word)
        assert f"does not wait for {name}" in str(caught.value.cause)
    stage.script.release("drain_node")
    await handle.result()


def heir(**pins: Any) -> Plan:
    """A plan that goes on with what an earlier run has begun: its budget is away, its edit stands."""
    plan = resuming(Phase.PROTECTING)
    assert plan.pins is not None
    assert plan.resume is not None
    return plan.model_copy(
        update={
            "pins": plan.pins.model_copy(update=pins),
            "resume": plan.resume.model_copy(update={"backup": BACKUP}),
        }
    )


@pytest.mark.parametrize(
    "failing", ["claim_replacement_record", "take_node", "back_up_pod_disruption_budget"]
)
@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_an_earlier_run_has_begun_goes_back_even_where_its_heir_stops_at_once(
    stage: Stage, failing: str, cancelled: bool
) -> None:
    stage.script.answers["preflight"] = Preflighted(plan=heir())
    stage.script.answers["settle_removal"] = RemovalSettled(may_be_sent=False)
    begun = stage.script.block(failing)
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    stage.script.requests_cancellation_of = handle
    if cancelled:
        await handle.execute_update("abort", {"by": "ann"})
    else:
        stage.script.fail(failing)
    stage.script.release(failing)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    first = stage.script.calls.index(failing) + 1
    assert stage.script.calls[first:][:7] == ["settle_removal", *ROLL_BACK_ORDER]
    assert stage.script.orders[BUDGET]["backup"] == BACKUP.model_dump(mode="json")


async def test_a_dead_node_that_an_heir_gives_up_leaves_nothing_of_the_earlier_run(stage: Stage) -> None:
    stage.script.answers["preflight"] = Preflighted(plan=heir(node_ready=False))
    stage.script.answers["settle_removal"] = RemovalSettled(may_be_sent=False)
    handle = await stage.start()
    await asked(handle)
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    error, result = await stage.failure(handle)
    assert (error.type, result.restored) == ("RolledBack", list(ROLL_BACK_ORDER))


async def test_an_heir_rolls_nothing_back_while_an_earlier_removal_may_come(stage: Stage) -> None:
    """The flag goes back only where the member stays."""
    stage.script.answers["preflight"] = Preflighted(plan=heir())
    stage.script.fail("take_node")
    error, result = await stage.failure(await stage.start())
    assert error.type == "LeftIncomplete"
    assert not {FLAG, POD, UNCORDON, "delete_replacement_record"} & set(stage.script.calls)
    assert BUDGET in stage.script.calls
    assert "nobody can tell whether the member is removed" in result.reason


async def test_an_heir_past_the_removal_that_gives_a_dead_node_up_puts_the_budget_back(stage: Stage) -> None:
    plan = resuming(Phase.CLEANING)
    assert plan.pins is not None
    dead = plan.model_copy(update={"pins": plan.pins.model_copy(update={"node_ready": False})})
    stage.script.answers["preflight"] = Preflighted(plan=dead)
    guarding = stage.script.block("stand_guard")
    handle = await stage.start()
    await asked(handle)
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    await asyncio.wait_for(guarding.wait(), 30)
    assert stage.script.calls[-5:] == RESTED[:-1]
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    await stage.failure(handle)


async def unknown(stage: Stage) -> Handle:
    """A replacement that holds since nobody can tell whether its removal is applied."""
    return await held(stage, "remove_member", "OutcomeUnknown")


async def retried(stage: Stage, handle: Handle, plan: Plan) -> None:
    stage.script.answers["preflight"] = Preflighted(plan=plan)
    await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})


async def given_up(stage: Stage, handle: Handle) -> ReplacementResult:
    await asyncio.wait_for(stage.script.begun["stand_guard"].wait(), 30)
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    _, result = await stage.failure(handle)
    return result


async def test_nobody_can_tell_is_not_forgotten_with_the_next_hold(stage: Stage) -> None:
    """An uncordoned pod could rejoin under its old id."""
    handle = await unknown(stage)
    await retried(stage, handle, REFUSING)
    result = await given_up(stage, handle)
    assert UNCORDON not in stage.script.calls
    assert "nobody can tell whether the member is removed" in result.reason


async def test_a_retry_sends_no_second_removal_while_the_first_may_come(stage: Stage) -> None:
    handle = await unknown(stage)
    before = len(stage.script.calls)
    await retried(stage, handle, resuming(Phase.PROTECTING))
    await given_up(stage, handle)
    assert stage.script.calls[before : before + 2] == ["preflight", "settle_removal"]
    assert stage.script.orders["settle_removal"]["fence"]["phase"] == "removing"
    assert "remove_member" not in stage.script.calls[before:]
    assert UNCORDON not in stage.script.calls


async def test_a_retry_of_a_removal_that_is_lost_has_a_way_back_again(stage: Stage) -> None:
    handle = await unknown(stage)
    before = len(stage.script.calls)
    stage.script.answers["settle_removal"] = RemovalSettled(may_be_sent=False)
    stage.script.fail("take_snapshot")
    await retried(stage, handle, resuming(Phase.PROTECTING))
    error, _ = await stage.failure(handle)
    assert error.type == "RolledBack"
    assert stage.script.calls[before:] == [
        "preflight",
        "settle_removal",
        *MAKE_ROOM[1:],
        "settle_removal",
        *ROLL_BACK_ORDER,
    ]
    assert stage.script.orders["take_snapshot"]["fence"]["phase"] == "snapshotting"


async def test_a_utility_pod_that_does_not_go_keeps_nobody_from_being_asked(stage: Stage) -> None:
    """Its node is dead: it goes when that node comes back, and until then somebody has to know."""
    stage.script.fail("clean_data_directory")
    gone = ApplicationError("kube-etcd-utility-1 is terminating", type="NotYet")
    stage.script.always[UTILITY] = gone
    error, result = await stage.failure(await stage.start(limits={"hold": "PT3H"}))
    assert error.type == "LeftIncomplete"
    assert "the utility Pod is not gone, and the node stays cordoned" in result.reason
    assert result.reason in stage.script.orders["close_replacement_record"]["reason"]
    assert UNCORDON not in stage.script.calls
