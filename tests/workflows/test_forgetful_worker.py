"""An answer may reach a worker together with what came before it, and apart from it when the run is replayed.

So it is with a worker that reads the history from its beginning, as one does that takes over from one that was killed:
the core takes a workflow task that led to no command for a heartbeat, and looks at the next one together with it; once
an update was accepted there, a replay has the two apart. A worker without a cache meets both with every task.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import pytest_asyncio
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.contrib.pydantic import pydantic_data_converter

from lab.temporal_server import running_temporal
from replace_etcd.audit.events import EventKind
from replace_etcd.models.orders import Preflighted
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome
from replace_etcd.temporal import register_search_attributes
from tests.resets import FIRST_TASK, reset_to, tasks_that_scheduled
from tests.workflows.conftest import Stage, playing
from tests.workflows.script import PLAN, Script
from tests.workflows.test_hold import asked, dead_node, resuming
from tests.workflows.test_replay import replay
from tests.workflows.test_telling import PEOPLE, STORE, kinds

pytestmark = pytest.mark.asyncio(loop_scope="module")
Handle = WorkflowHandle[Any, Any]
GUARD = "stand_guard"
WITHIN = 90.0
ANSWERS = {
    "approve": ("approve", {"approver": "ann"}, EventKind.APPROVED),
    "decline": ("decline", {"approver": "ann"}, EventKind.DECLINED),
    "retry": ("resolve", {"choice": "retry", "by": "ann"}, EventKind.RESOLVED),
    "abandon": ("resolve", {"choice": "abandon", "by": "ann"}, EventKind.RESOLVED),
    "confirm_node_down": ("confirm_node_down", {"by": "ann"}, EventKind.NODE_CONFIRMED_DOWN),
    "abort": ("abort", {"by": "ann"}, EventKind.ABORTED),
}
LAST_WORDS = {"decline", "abandon", "abort"}
RESUMING, DEAD_NODE = resuming(Phase.RESTORING, new_member_id="b2"), dead_node(can_move=True)
PLANS = {
    "approve": (PLAN, "preflight"),
    "decline": (PLAN, "preflight"),
    "resolve": (RESUMING, "note_hold"),
    "confirm_node_down": (DEAD_NODE, "note_hold"),
    "abort": (DEAD_NODE, "note_hold"),
}
SCHEDULED = "activity_task_scheduled_event_attributes"
ENDED = ("activity_task_completed_event_attributes", "activity_task_failed_event_attributes")
TASK_COMPLETED = "workflow_task_completed_event_attributes"
ACCEPTED = "workflow_execution_update_accepted_event_attributes"
CANCEL_REQUESTED = "workflow_execution_cancel_requested_event_attributes"
COMMANDS = (
    SCHEDULED,
    ACCEPTED,
    "activity_task_cancel_requested_event_attributes",
    "marker_recorded_event_attributes",
    "timer_started_event_attributes",
    "upsert_workflow_search_attributes_event_attributes",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Of a real server: the one that skips time has a worker without a cache go round in circles."""
    async with running_temporal(tmp_path_factory.mktemp("temporal")) as server:
        connected = await Client.connect(server.address, data_converter=pydantic_data_converter)
        await register_search_attributes(connected)
        yield connected


@pytest_asyncio.fixture(loop_scope="module")
async def forgetful(client: Client, script: Script) -> AsyncIterator[Stage]:
    async with playing(client, script, max_cached_workflows=0) as stage:
        yield stage


@pytest.mark.parametrize("fails", [False, pytest.param(True, marks=pytest.mark.needs("minutes"))])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_answer_that_comes_right_after_the_end_of_a_delivery_replays(
    forgetful: Stage, answer: str, fails: bool
) -> None:
    script, (update, word, kind) = forgetful.script, ANSWERS[answer]
    handle = await asking(forgetful, update)
    await until_ended(handle, PEOPLE)
    if fails:
        script.fail(STORE)
    script.release(STORE)
    await until_ended(handle, STORE)
    script.requests_cancellation_of = handle
    await handle.execute_update(update, word)
    if answer in LAST_WORDS:
        await asyncio.wait_for(asyncio.gather(handle.result(), return_exceptions=True), WITHIN)
    else:
        await until_ended(handle, STORE)
    await replay((await handle.fetch_history()).to_json())
    assert kind.value in kinds(script)


async def asking(stage: Stage, update: str) -> Handle:
    """A replacement that waits for this answer, with a delivery under way that is kept from ending."""
    script = stage.script
    plan, gate = PLANS[update]
    script.answers["preflight"] = Preflighted(plan=plan)
    script.fail("restore_initial_cluster_state")
    script.block(GUARD)
    asks = script.block(gate)
    handle = await stage.start(require_approval=plan is PLAN)
    await asks.wait()
    await until_ended(handle, STORE)
    delivery = script.block(STORE)
    script.release(gate)
    await delivery.wait()
    return handle


async def test_nothing_that_happens_while_people_may_answer_leaves_a_task_without_a_command(
    client: Client, script: Script
) -> None:
    """A cancel, a delivery, a notice, a guard that ends by itself: each with a task of its own."""
    script.answers["preflight"] = Preflighted(plan=PLANS["resolve"][0])
    script.fail("restore_initial_cluster_state")
    holds = script.block("note_hold")
    async with playing(client, script) as stage:
        handle = await stage.start()
        await holds.wait()
        await until_ended(handle, STORE)
        await handle.cancel()
        await until(handle, lambda events: is_noted(events, CANCEL_REQUESTED))
        begun = [script.block(name) for name in (STORE, PEOPLE, GUARD)]
        script.release("note_hold")
        await asyncio.gather(*(each.wait() for each in begun))
        for name in (STORE, PEOPLE, GUARD):
            script.release(name)
            await until_ended(handle, name)
        await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
        names = [name_of(event) for event in (await handle.fetch_history()).events]
    after = [
        names[number + 1]
        for number, name in enumerate(names[: names.index(ACCEPTED)])
        if name == TASK_COMPLETED
    ]
    assert [name for name in after if name not in COMMANDS] == []


async def test_an_abort_that_comes_with_the_start_is_told_after_it(client: Client, script: Script) -> None:
    own = uuid.uuid4().hex
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        "ReplaceEtcdReplica",
        {"user_cluster": "user-cluster-1"},
        id=own,
        task_queue=script.queue,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
    )
    handle = script.requests_cancellation_of = client.get_workflow_handle(own)
    async with playing(client, script):
        await client.execute_update_with_start_workflow(
            "abort", {"by": "ann"}, start_workflow_operation=start
        )
        await asyncio.gather(handle.result(), return_exceptions=True)
        names = [name_of(event) for event in (await handle.fetch_history()).events]
    assert names.index(ACCEPTED) == names.index(TASK_COMPLETED) + 1
    assert kinds(script)[:2] == ["started", "aborted"]
    assert {event.user_cluster for event in script.events} == {"user-cluster-1"}


async def test_a_hold_that_is_reset_to_its_last_task_still_takes_an_answer(
    client: Client, script: Script
) -> None:
    script.answers["preflight"] = Preflighted(plan=RESUMING)
    script.fail("restore_initial_cluster_state")
    guarding = script.block(GUARD)
    async with playing(client, script, max_cached_workflows=0) as stage:
        handle = await stage.start()
        await asyncio.wait_for(guarding.wait(), WITHIN)
        (point,) = await tasks_that_scheduled(handle, GUARD)
        again = client.get_workflow_handle(handle.id, run_id=await reset_to(client, handle.id, point))
        await asked(again)
        await again.execute_update("resolve", {"choice": "abandon", "by": "ann"})
        with pytest.raises(WorkflowFailureError, match="Workflow execution failed"):
            await asyncio.wait_for(again.result(), WITHIN)
    assert script.orders[GUARD]["fence"]["furthest"] == "restoring"
    assert script.calls[-1] == "close_replacement_record"


async def test_a_run_that_was_reset_does_not_say_of_what_was_begun_before_that_nothing_was_changed(
    client: Client, script: Script
) -> None:
    script.fail("cordon_node", "LockLost")
    async with playing(client, script) as stage:
        handle = await stage.start()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        script.fail("preflight", "Forbidden")
        again = client.get_workflow_handle(handle.id, run_id=await reset_to(client, handle.id, FIRST_TASK))
        error, result = await stage.failure(again)
    assert (error.type, result.outcome) == ("PreflightRefused", Outcome.REFUSED)
    assert result.reason.endswith(
        "this run changed nothing; what the record says, if there is one, still holds"
    )
    assert "nothing was changed" not in result.reason


async def test_a_cancel_that_comes_with_the_start_ends_it_with_an_outcome(
    client: Client, script: Script
) -> None:
    handle = await Stage(client, script).start()
    await handle.cancel()
    async with playing(client, script):
        await asyncio.gather(handle.result(), return_exceptions=True)
        assert (await handle.query("progress"))["outcome"] == Outcome.CANCELLED
    assert script.calls == []
    assert kinds(script) == ["started", "stop_requested", "finished"]


async def until_ended(handle: Handle, name: str) -> None:
    """Wait until all activities of this type have ended, and the workflow has taken note of it."""
    await until(handle, lambda events: have_ended(events, name))


async def until(handle: Handle, holds: Callable[[Sequence[HistoryEvent]], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds((await handle.fetch_history()).events):  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(0.02)


def have_ended(events: Sequence[HistoryEvent], wanted: str) -> bool:
    begun: set[int] = set()
    ended = noted = False
    for event in events:
        name = name_of(event)
        attributes = getattr(event, name)
        if name == SCHEDULED and attributes.activity_type.name == wanted:
            begun.add(event.event_id)
        elif name in ENDED and attributes.scheduled_event_id in begun:
            begun.remove(attributes.scheduled_event_id)
            ended, noted = True, False
        elif name == TASK_COMPLETED:
            noted = True
    return ended and noted and not begun


def is_noted(events: Sequence[HistoryEvent], what: str) -> bool:
    names = [name_of(event) for event in events]
    return what in names and TASK_COMPLETED in names[names.index(what) :]


def name_of(event: HistoryEvent) -> str:
    return str(event.WhichOneof("attributes"))
