"""Records the janitor's histories: `python -m tests.workflows.record_janitor`. Existing files are left as they are."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from replace_etcd.models.phase import Phase
from replace_etcd.models.restoring import RestoreResult, Verdict
from tests.workflows.conftest import Stage, a_stage
from tests.workflows.record import without_places
from tests.workflows.script import Script
from tests.workflows.test_restore_interrupted import ONE, TAKE, found, records

FOLDER = Path(__file__).parent / "histories" / "janitor"
Handle = WorkflowHandle[Any, RestoreResult]
Scene = Callable[[Stage], Awaitable[Handle]]


async def swept(stage: Stage) -> Handle:
    """One that is interrupted, one that is stuck, one that runs."""
    stuck = found(Verdict.STUCK, user_cluster="user-cluster-2")
    records(stage.script, found(), stuck, found(Verdict.RUNNING, user_cluster="user-cluster-3"))
    return await stage.start_janitor()


async def rolled_back(stage: Stage) -> Handle:
    """Before the removal."""
    records(stage.script, found())
    return await stage.start_janitor(ONE)


async def resting(stage: Stage) -> Handle:
    """After the removal."""
    records(stage.script, found(phase=Phase.ADDING))
    return await stage.start_janitor(ONE)


async def taken_over_by_hand(stage: Stage) -> Handle:
    """On the word of a person."""
    records(stage.script, found(Verdict.UNKNOWN))
    return await stage.start_janitor({**ONE, "take_over": "its Temporal burnt down", "requested_by": "ann"})


async def lost(stage: Stage) -> Handle:
    """Somebody else was faster."""
    records(stage.script, found())
    stage.script.fail(TAKE, "LockLost")
    return await stage.start_janitor(ONE)


SCENES: list[Scene] = [swept, rolled_back, resting, taken_over_by_hand, lost]


async def record(scene: Scene) -> None:
    """Play a scene on a server of its own, and keep its history with what became of each record beside it."""
    path = FOLDER / f"{scene.__name__}.json"
    if path.exists():
        return
    async with a_stage(Script()) as stage:
        handle = await scene(stage)
        result = await handle.result()
        history = json.loads((await handle.fetch_history()).to_json())
    ends = [[one.verdict, one.outcome] for one in result.records]
    path.write_text(json.dumps({"records": ends, **without_places(history)}, indent=1) + "\n")


async def main() -> None:
    """Every scene that has no history yet."""
    FOLDER.mkdir(exist_ok=True)
    for scene in SCENES:
        await record(scene)


if __name__ == "__main__":
    asyncio.run(main())
