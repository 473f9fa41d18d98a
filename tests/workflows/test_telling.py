"""What is told of a replacement, to the audit and to people; that neither is ever in its way."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from replace_etcd.audit.events import EventKind
from replace_etcd.audit.views import story_of
from replace_etcd.models.notice import Asks
from replace_etcd.models.orders import Preflighted
from replace_etcd.models.result import Outcome
from tests.workflows.conftest import Stage
from tests.workflows.script import PLAN, REFUSING, Script
from tests.workflows.test_hold import held
from tests.workflows.test_plan_and_approval import waiting
from tests.workflows.test_restore_interrupted import found, records, restored

STORE, PEOPLE = "append_audit_events", "send_notification"


def kinds(script: Script) -> list[str]:
    """What was told, but for the steps."""
    return [event.kind.value for event in script.events if event.kind is not EventKind.STEP]


async def ended(stage: Stage, **fields: Any) -> WorkflowHandle[Any, Any]:
    handle = await stage.start(**fields)
    await asyncio.gather(handle.result(), return_exceptions=True)
    return handle


async def test_a_replacement_tells_its_whole_story_in_a_handful_of_deliveries(stage: Stage) -> None:
    handle = await ended(stage, incident="INC-77", requested_by="ann", failed_replica=None)
    script = stage.script
    assert kinds(script) == ["started", "planned", "finished"]
    assert [event.data["name"] for event in script.events if event.kind is EventKind.STEP] == script.calls
    assert len(script.deliveries) <= 4
    story = story_of(script.events)
    view = story.replacement
    assert (view.run_id, view.incident, view.requested_by) == (handle.first_execution_run_id, "INC-77", "ann")
    assert (view.replica, view.outcome) == ("kube-etcd-1", Outcome.REPLACED)
    assert story.plan == PLAN
    assert [member.name for member in story.members_after] == ["kube-etcd-0", "kube-etcd-1", "kube-etcd-2"]
    evidence = {step.name: step.evidence for step in story.steps}
    assert evidence["back_up_pod_disruption_budget"]["backup"]["manifest"]["spec"] == {"minAvailable": 2}
    assert {event.user_cluster for event in script.events} == {"user-cluster-1"}
    assert [notice.event for notice in script.notices] == [Outcome.REPLACED]


async def test_a_plan_is_told_once_and_wakes_nobody(stage: Stage) -> None:
    await ended(stage, dry_run=True)
    assert kinds(stage.script) == ["started", "planned", "finished"]
    assert (len(stage.script.deliveries), stage.script.notices) == (1, [])


async def test_a_refusal_is_told_with_its_reason(stage: Stage) -> None:
    stage.script.answers["preflight"] = Preflighted(plan=REFUSING)
    await ended(stage)
    last = stage.script.events[-1]
    assert (last.kind, last.outcome) == (EventKind.FINISHED, Outcome.REFUSED)
    assert "recover it" in last.data["reason"]
    assert stage.script.notices[-1].event is Outcome.REFUSED


async def test_who_was_asked_and_who_answered_is_told_at_once(stage: Stage) -> None:
    handle = await stage.start(require_approval=True)
    await waiting(handle)
    await until(lambda: len(stage.script.notices) == 1 and "asked" in kinds(stage.script))
    (notice,) = stage.script.notices
    assert (notice.event, notice.choices) == (Asks.WAITING_FOR_APPROVAL, ["approve", "decline"])
    await handle.execute_update("approve", {"approver": "bob", "comment": "go"})
    await handle.result()
    approved = next(event for event in stage.script.events if event.kind is EventKind.APPROVED)
    assert approved.data == {"by": "bob", "comment": "go"}


async def test_a_hold_and_its_end_are_told(stage: Stage) -> None:
    handle = await held(stage, "add_member")
    await until(lambda: Asks.HELD in [notice.event for notice in stage.script.notices])
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann", "reason": "tomorrow"})
    await asyncio.gather(handle.result(), return_exceptions=True)
    assert kinds(stage.script)[-3:] == ["asked", "resolved", "finished"]
    assert stage.script.notices[-1].event is Outcome.LEFT_INCOMPLETE
    failed = [event.data["name"] for event in stage.script.events if event.data.get("error")]
    assert failed == ["add_member"]


async def test_a_cancel_is_told_and_so_is_how_it_ended(stage: Stage) -> None:
    begun = stage.script.block("cordon_node")
    handle = await stage.start()
    await begun.wait()
    await handle.cancel()
    stage.script.release("cordon_node")
    await asyncio.gather(handle.result(), return_exceptions=True)
    assert kinds(stage.script)[-2:] == ["stop_requested", "finished"]
    assert stage.script.events[-1].outcome is Outcome.CANCELLED


@pytest.mark.parametrize("fields", [{}, {"dry_run": True}])
async def test_a_store_out_of_reach_stops_nothing_and_hears_everything_later(
    stage: Stage, fields: dict[str, Any]
) -> None:
    stage.script.out_of_reach = {STORE, PEOPLE}
    result = await stage.run(**fields)
    assert result.outcome in (Outcome.REPLACED, Outcome.PLANNED)
    assert stage.script.events == []
    stage.script.out_of_reach = set()
    await until(lambda: EventKind.FINISHED in [event.kind for event in stage.script.events])
    assert kinds(stage.script) == ["started", "planned", "finished"]
    await until(lambda: bool(stage.script.notices) or bool(fields))


async def test_an_interrupted_one_is_completed_by_the_run_that_puts_it_back(stage: Stage) -> None:
    records(stage.script, found())
    record = await restored(stage)
    last = stage.script.events[-1]
    assert (last.run_id, last.workflow_id) == ("the-last", "replace-etcd.user-cluster-1")
    assert (last.kind, last.outcome) == (EventKind.INTERRUPTED, Outcome.INTERRUPTED)
    assert [event.data["name"] for event in stage.script.events[:-1]] == record.restored
    assert stage.script.notices[-1].event is Outcome.INTERRUPTED


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - the activities of another thread of the story
            await asyncio.sleep(0.02)
