"""Records a history for each outcome: `python -m tests.workflows.record`. Existing files are left as they are."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from replace_etcd.models.orders import Preflighted
from replace_etcd.models.phase import Phase
from tests.workflows.conftest import Stage, a_stage
from tests.workflows.script import PLAN, REFUSING, Script
from tests.workflows.test_hold import asked, dead_node, held, resuming
from tests.workflows.test_plan_and_approval import waiting

HISTORIES = Path(__file__).parent / "histories"
Handle = WorkflowHandle[Any, Any]
Scene = Callable[[Stage], Awaitable[Handle]]


async def planned(stage: Stage) -> Handle:
    """A dry run."""
    return await stage.start(dry_run=True)


async def replaced(stage: Stage) -> Handle:
    """The whole runbook."""
    return await stage.start(incident="INC-77", requested_by="ann")


async def replaced_after_approval(stage: Stage) -> Handle:
    """With everything that can be chosen, and an approval."""
    handle = await stage.start(require_approval=True, drain="replica", pod_disruption_budget="keep")
    await waiting(handle)
    await handle.execute_update("approve", {"approver": "bob"})
    return handle


async def replaced_in_spite_of_a_cancel(stage: Stage) -> Handle:
    """A cancel that comes after the removal."""
    return await _cancelled_during(stage, "add_member")


async def refused(stage: Stage) -> Handle:
    """A preflight that refuses."""
    stage.script.answers["preflight"] = Preflighted(plan=REFUSING)
    return await stage.start()


async def declined(stage: Stage) -> Handle:
    """An approval that is refused."""
    handle = await stage.start(require_approval=True)
    await waiting(handle)
    await handle.execute_update("decline", {"approver": "bob", "comment": "not tonight"})
    return handle


async def rolled_back(stage: Stage) -> Handle:
    """A drain that fails for good."""
    stage.script.fail("drain_node")
    return await stage.start()


async def cancelled(stage: Stage) -> Handle:
    """A cancel before the removal."""
    return await _cancelled_during(stage, "cordon_node")


async def left_incomplete(stage: Stage) -> Handle:
    """A new member that does not rejoin."""
    stage.script.fail("wait_for_voter")
    return await stage.start()


async def abandoned(stage: Stage) -> Handle:
    """A hold after the removal that somebody ends."""
    handle = await held(stage, "add_member")
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    return handle


async def replaced_after_a_hold(stage: Stage) -> Handle:
    """A hold after the removal, then `retry`."""
    handle = await held(stage, "promote_member")
    stage.script.answers["preflight"] = Preflighted(plan=resuming(Phase.ADDING, new_member_id="b2"))
    await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})
    return handle


async def abandoned_after_a_retry(stage: Stage) -> Handle:
    """A hold, a `retry` that is refused, another hold, and its end."""
    handle = await held(stage, "add_member")
    stage.script.answers["preflight"] = Preflighted(plan=REFUSING)
    guarding = stage.script.begun["stand_guard"]
    guarding.clear()
    await handle.execute_update("resolve", {"choice": "retry", "by": "ann"})
    await guarding.wait()
    await handle.execute_update("resolve", {"choice": "abandon", "by": "ann"})
    return handle


async def resumed_where_the_member_was_removed(stage: Stage) -> Handle:
    """A half-done replacement that is started again."""
    stage.script.answers["preflight"] = Preflighted(plan=resuming(Phase.CLEANING))
    return await stage.start()


async def aborted(stage: Stage) -> Handle:
    """The update `abort` before the removal."""
    begun = stage.script.block("drain_node")
    handle = await stage.start()
    await begun.wait()
    stage.script.requests_cancellation_of = handle
    await handle.execute_update("abort", {"by": "ann", "reason": "wrong cluster"})
    return handle


async def replaced_after_the_node_was_confirmed_to_be_off(stage: Stage) -> Handle:
    """A dead node, and somebody's word."""
    stage.script.answers["preflight"] = Preflighted(plan=dead_node(can_move=True))
    handle = await stage.start()
    await asked(handle)
    stage.script.answers["preflight"] = Preflighted(plan=PLAN)
    await handle.execute_update("confirm_node_down", {"by": "ann"})
    return handle


async def _cancelled_during(stage: Stage, step: str) -> Handle:
    begun = stage.script.block(step)
    handle = await stage.start()
    await begun.wait()
    await handle.cancel()
    stage.script.release(step)
    return handle


SCENES: list[Scene] = [
    planned,
    replaced,
    replaced_after_approval,
    replaced_in_spite_of_a_cancel,
    refused,
    declined,
    rolled_back,
    cancelled,
    left_incomplete,
    abandoned,
    replaced_after_a_hold,
    abandoned_after_a_retry,
    resumed_where_the_member_was_removed,
    aborted,
    replaced_after_the_node_was_confirmed_to_be_off,
]


async def record(scene: Scene) -> None:
    """Play a scene on a server of its own, and keep its history with the outcome beside it."""
    name = scene.__name__
    path = HISTORIES / f"{name}.json"
    if path.exists():
        return
    async with a_stage(Script()) as stage:
        handle = await scene(stage)
        await asyncio.gather(handle.result(), return_exceptions=True)
        history = json.loads((await handle.fetch_history()).to_json())
        outcome = (await handle.query("progress"))["outcome"]
    path.write_text(json.dumps({"outcome": outcome, **without_places(history)}, indent=1) + "\n")


def without_places(node: Any) -> Any:
    """Stack traces and identities name the machine that recorded; a replay does not read them."""
    if isinstance(node, dict):
        return {k: without_places(v) for k, v in node.items() if k not in ("stackTrace", "identity")}
    return [without_places(item) for item in node] if isinstance(node, list) else node


async def main() -> None:
    """Every scene that has no history yet."""
    HISTORIES.mkdir(exist_ok=True)
    for scene in SCENES:
        await record(scene)


if __name__ == "__main__":
    asyncio.run(main())
