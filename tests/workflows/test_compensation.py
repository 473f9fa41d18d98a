"""What happens when a step fails for good, or somebody stops the replacement."""

import asyncio

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from replace_etcd.models.orders import Recalled, RemovalSettled
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome
from tests.workflows.conftest import Stage
from tests.workflows.script import PINS, REFUSING, Script
from tests.workflows.test_order_of_steps import JOIN, MAKE_ROOM, RESTORE
from workflows.saga import ROLL_BACK_ORDER

BUDGET, FLAG, POD = (
    "restore_pod_disruption_budget",
    "restore_flag_and_strategy",
    "replace_pod_with_wrong_flag",
)
UTILITY, UNCORDON, RECORD = "delete_utility_pod", "uncordon_node", "delete_replacement_record"
RESTED = [BUDGET, UTILITY, UNCORDON, "note_hold", "stand_guard", "close_replacement_record"]
RECALL = "recall_what_was_begun"
UNDONE_AFTER = {
    "claim_replacement_record": [RECORD],
    "take_node": [UNCORDON, RECORD],
    "back_up_pod_disruption_budget": [UNCORDON, RECORD],
    "join_existing_on_delete": [BUDGET, FLAG, POD, UNCORDON, RECORD],
    "cordon_node": [BUDGET, FLAG, POD, UNCORDON, RECORD],
}
INTERRUPTED = (
    *("take_node", "create_utility_pod", "watch_failed_member"),
    *("evict_failed_pod", "drain_node", "take_snapshot"),
)


def undone_after(step: str) -> list[str]:
    return UNDONE_AFTER.get(step, list(ROLL_BACK_ORDER))


@pytest.mark.parametrize("failing", MAKE_ROOM[1:])
async def test_a_step_that_fails_before_the_removal_undoes_what_was_begun(stage: Stage, failing: str) -> None:
    stage.script.fail(failing)
    error, result = await stage.failure(await stage.start())
    before = MAKE_ROOM[: MAKE_ROOM.index(failing) + 1]
    assert stage.script.calls == before + undone_after(failing)
    assert (error.type, result.outcome) == ("RolledBack", Outcome.ROLLED_BACK)
    assert f"{failing} went wrong" in error.message
    assert result.restored == undone_after(failing)


async def test_a_removal_that_certainly_never_started_is_rolled_back(stage: Stage) -> None:
    stage.script.fail("remove_member", "RemovalDidNotStart")
    error, _ = await stage.failure(await stage.start())
    assert error.type == "RolledBack"
    assert stage.script.calls == [*MAKE_ROOM, "remove_member", *ROLL_BACK_ORDER]


async def test_a_removal_that_may_have_been_sent_keeps_existing(stage: Stage) -> None:
    stage.script.fail("remove_member", "OutcomeUnknown")
    error, result = await stage.failure(await stage.start())
    assert (error.type, result.outcome) == ("LeftIncomplete", Outcome.LEFT_INCOMPLETE)
    assert FLAG not in stage.script.calls
    rested = [step for step in RESTED if step != UNCORDON]  # the member may still be listed
    assert stage.script.calls[-6:] == ["settle_removal", *rested]
    assert "existing" in result.reason


async def test_a_removal_that_took_effect_uncordons_the_node(stage: Stage) -> None:
    stage.script.fail("remove_member", "OutcomeUnknown")
    stage.script.answers["settle_removal"] = RemovalSettled(may_be_sent=True, is_removed=True)
    await stage.failure(await stage.start())
    assert stage.script.calls[-7:] == ["settle_removal", *RESTED]


async def test_a_removal_of_which_the_record_knows_nothing_is_rolled_back(stage: Stage) -> None:
    stage.script.fail("remove_member", "CommandFailed")
    stage.script.answers["settle_removal"] = RemovalSettled(may_be_sent=False)
    error, _ = await stage.failure(await stage.start())
    assert error.type == "RolledBack"
    assert stage.script.calls[-6:] == list(ROLL_BACK_ORDER)


@pytest.mark.parametrize("failing", [*JOIN[1:], *RESTORE])
async def test_after_the_removal_the_flag_never_goes_back_by_compensation(
    script: Script, stage: Stage, failing: str
) -> None:
    script.fail(failing)
    error, result = await stage.failure(await stage.start())
    assert error.type == "LeftIncomplete"
    assert FLAG not in script.calls
    assert script.calls[-6:] == RESTED
    assert result.outcome is Outcome.LEFT_INCOMPLETE


async def test_a_run_that_lost_the_record_compensates_nothing(stage: Stage) -> None:
    stage.script.fail("cordon_node", "LockLost")
    error, _ = await stage.failure(await stage.start())
    assert error.type == "LeftIncomplete"
    assert stage.script.calls[-1] == "cordon_node"


@pytest.mark.parametrize("failing", ["take_node", "cordon_node"])
async def test_a_run_that_was_reset_takes_every_way_back_by_the_pins_of_the_record(
    stage: Stage, failing: str
) -> None:
    """It may have been to before steps that it does not know of: its first order to go back is refused."""
    moved = PINS.model_copy(update={"node": "node-3"})
    stage.script.answers[RECALL] = Recalled(pins=moved, way_back=True, furthest=Phase.DRAINING)
    stage.script.fail(failing)
    known = undone_after(failing)
    stage.script.fail(known[0], "MoreToPutBack")
    error, _ = await stage.failure(await stage.start())
    assert error.type == "RolledBack"
    before = MAKE_ROOM[: MAKE_ROOM.index(failing) + 1]
    assert stage.script.calls == [*before, known[0], RECALL, *ROLL_BACK_ORDER]
    orders = stage.script.orders
    assert not orders[failing]["fence"]["every_way_back"]
    for name in ROLL_BACK_ORDER:
        assert (orders[name]["fence"]["every_way_back"], orders[name]["pins"]["node"]) == (True, "node-3")


@pytest.mark.parametrize("removed", [True, False])
async def test_a_run_that_was_reset_to_before_the_removal_rests_where_that_is_safe(
    stage: Stage, removed: bool
) -> None:
    """Its flag stays, and its node cordoned while nobody can tell; the record says why."""
    stage.script.fail("cordon_node")
    stage.script.fail(BUDGET, "MoreToPutBack")
    stage.script.answers[RECALL] = Recalled(
        pins=PINS, way_back=False, furthest=Phase.REMOVING, is_removed=removed
    )
    error, result = await stage.failure(await stage.start())
    assert error.type == "LeftIncomplete"
    rested = [BUDGET, UTILITY, *([UNCORDON] if removed else []), "close_replacement_record"]
    assert stage.script.calls[stage.script.calls.index(RECALL) + 1 :] == rested
    assert stage.script.orders["close_replacement_record"]["fence"]["furthest"] == "removing"
    assert "cordon_node went wrong; " in result.reason
    assert ("nobody can tell" in result.reason) is not removed


async def test_a_second_replacement_is_refused_by_the_record(stage: Stage) -> None:
    stage.script.fail("claim_replacement_record", "LockLost")
    error, result = await stage.failure(await stage.start())
    assert (error.type, result.outcome) == ("PreflightRefused", Outcome.REFUSED)
    assert stage.script.calls == MAKE_ROOM[:2]


async def test_a_refusing_preflight_changes_nothing_and_names_the_way_out(stage: Stage) -> None:
    stage.script.answers["preflight"] = stage.script.answers["preflight"].model_copy(
        update={"plan": REFUSING}
    )
    error, result = await stage.failure(await stage.start())
    assert (error.type, result.outcome) == ("PreflightRefused", Outcome.REFUSED)
    assert "1 of 3 (recover it)" in error.message
    assert stage.script.calls == ["preflight"]


@pytest.mark.parametrize("during", [*MAKE_ROOM[1:]])
async def test_a_cancel_before_the_removal_puts_everything_back(stage: Stage, during: str) -> None:
    begun = stage.script.block(during)
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    await handle.cancel()
    if during not in (*INTERRUPTED, "wait_until_failed_pod_is_gone"):
        stage.script.release(during)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert stage.script.calls == MAKE_ROOM[: MAKE_ROOM.index(during) + 1] + undone_after(during)
    assert (await handle.query("progress"))["outcome"] == "cancelled"


@pytest.mark.parametrize("during", [*JOIN, *RESTORE])
async def test_a_cancel_after_the_removal_finishes_forward(stage: Stage, during: str) -> None:
    begun = stage.script.block(during)
    handle = await stage.start()
    await asyncio.wait_for(begun.wait(), 30)
    await handle.cancel()
    stage.script.release(during)
    result = await handle.result()
    assert result.outcome is Outcome.REPLACED
    assert result.cancel_requested
    assert stage.script.calls == MAKE_ROOM + JOIN + RESTORE


async def test_a_second_cancel_does_not_stop_a_compensation(stage: Stage) -> None:
    first, undoing = stage.script.block("drain_node"), stage.script.block(FLAG)
    handle = await stage.start()
    await asyncio.wait_for(first.wait(), 30)
    await handle.cancel()
    await asyncio.wait_for(undoing.wait(), 30)
    await handle.cancel()
    stage.script.release(FLAG)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert stage.script.calls[-6:] == list(ROLL_BACK_ORDER)


async def test_an_error_carries_the_whole_result(stage: Stage) -> None:
    stage.script.fail("drain_node")
    error, result = await stage.failure(await stage.start(incident="INC-77"))
    assert isinstance(error, ApplicationError)
    assert result.plan is not None
    assert result.plan.pins is not None
    assert next(step for step in result.steps if step.name == "drain_node").error == "drain_node went wrong"
