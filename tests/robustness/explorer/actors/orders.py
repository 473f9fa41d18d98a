"""What people and programs say to Temporal at the wrong moment: cancel, abort, terminate, reset, start once more."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError

from tests.resets import reset_to
from tests.robustness.explorer.actors import Actor
from tests.robustness.explorer.schedule import Fault
from tests.robustness.explorer.stage import WORKFLOW_ID, Stage

REASON = "the explorer"


def _newest(stage: Stage) -> WorkflowHandle[object, object]:
    return stage.client.get_workflow_handle(WORKFLOW_ID)


async def cancel(stage: Stage, fault: Fault) -> str:
    """As the server's own cancel."""
    await _newest(stage).cancel()
    return "asked for"


async def abort(stage: Stage, fault: Fault) -> str:
    """By the update."""
    await _newest(stage).execute_update("abort", {"by": REASON, "reason": "a whim"})
    return "heard"


async def terminate(stage: Stage, fault: Fault) -> str:
    """No compensation runs; somebody may start it again before the janitor comes."""
    await _newest(stage).terminate(REASON)
    if not fault.params["again"]:
        return "terminated"
    await stage.start()
    return "terminated, and started again"


async def reset(stage: Stage, fault: Fault) -> str:
    """Back to an earlier moment of its history: the run forgets what it has done since."""
    history = await _newest(stage).fetch_history()
    points = [
        event.event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    if not points:
        return "too early"
    point = points[int((len(points) - 1) * fault.params["back"])]
    await reset_to(stage.client, WORKFLOW_ID, point, run_id=history.run_id, why=REASON)
    return f"to event {point} of {history.events[-1].event_id}"


async def start_again(stage: Stage, fault: Fault) -> str:
    """Somebody starts the same replacement: Temporal keeps a second one out while one runs."""
    try:
        return f"run {await stage.start()}"
    except WorkflowAlreadyStartedError:
        return "kept out"


async def start_another(stage: Stage, fault: Fault) -> str:
    """Somebody starts one under an id of their own, which Temporal lets in."""
    return f"run {await stage.start(f'{WORKFLOW_ID}.by-somebody')}"


ACTORS: dict[str, Actor] = {
    "cancel": cancel,
    "abort": abort,
    "terminate": terminate,
    "reset": reset,
    "second-start": start_again,
    "second-run": start_another,
}
