"""The dry run, and the approval between plan and act."""

import pytest
from temporalio.client import WorkflowUpdateFailedError

from replace_etcd.models.orders import Preflighted
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome, Progress
from tests.workflows.conftest import Stage
from tests.workflows.script import PINS, PLAN
from tests.workflows.test_order_of_steps import MAKE_ROOM


async def test_a_dry_run_stops_after_the_preflight_and_returns_the_plan(stage: Stage) -> None:
    result = await stage.run(dry_run=True)
    assert result.outcome is Outcome.PLANNED
    assert result.plan == PLAN
    assert stage.script.calls == ["preflight"]


async def test_nothing_changes_before_somebody_approves(stage: Stage) -> None:
    handle = await stage.start(require_approval=True)
    progress = await waiting(handle)
    assert stage.script.calls == ["preflight"]
    assert progress.choices == ["approve", "decline"]
    assert progress.deadline is not None
    await handle.execute_update("approve", {"approver": "ann", "comment": "go"})
    result = await handle.result()
    assert (result.outcome, result.approved_by) == (Outcome.REPLACED, "ann")
    assert stage.script.calls[:3] == ["preflight", "preflight", MAKE_ROOM[1]]


async def test_a_plan_that_moved_while_it_waited_is_refused(stage: Stage) -> None:
    handle = await stage.start(require_approval=True)
    await waiting(handle)
    moved = PLAN.model_copy(update={"pins": PINS.model_copy(update={"pod_uid": "another"})})
    stage.script.answers["preflight"] = Preflighted(plan=moved)
    await handle.execute_update("approve", {"approver": "ann"})
    error, result = await stage.failure(handle)
    assert (error.type, result.outcome) == ("PreflightRefused", Outcome.REFUSED)
    assert stage.script.calls == ["preflight", "preflight"]


async def test_a_decline_changes_nothing(stage: Stage) -> None:
    handle = await stage.start(require_approval=True)
    await waiting(handle)
    await handle.execute_update("decline", {"approver": "bob", "comment": "not tonight"})
    error, result = await stage.failure(handle)
    assert (error.type, result.outcome) == ("ApprovalDeclined", Outcome.DECLINED)
    assert "bob" in error.message
    assert "not tonight" in error.message


async def test_an_approval_that_does_not_come_in_time_declines(stage: Stage) -> None:
    handle = await stage.start(require_approval=True, limits={"approval": "PT2H"})
    error, result = await stage.failure(handle)
    assert (error.type, result.outcome) == ("ApprovalDeclined", Outcome.DECLINED)
    assert stage.script.calls == ["preflight"]


async def test_an_approval_that_nobody_waits_for_is_rejected(stage: Stage) -> None:
    begun = stage.script.block("drain_node")
    handle = await stage.start()
    await begun.wait()
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update("approve", {"approver": "ann"})
    assert "does not wait for approve: it is draining" in str(caught.value.cause)
    stage.script.release("drain_node")
    await handle.result()


async def waiting(handle: object) -> Progress:
    """Wait until it waits for approval."""
    while True:
        progress = Progress.model_validate(await handle.query("progress"))  # type: ignore[attr-defined]
        if progress.phase is Phase.WAITING_FOR_APPROVAL:
            return progress
