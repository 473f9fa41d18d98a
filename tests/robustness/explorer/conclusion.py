"""After the schedule: no fault is left, and the run must end by itself, or rest where people can let it go on.

What holds is told `retry`; what was terminated is left to the janitor; what is left incomplete is started again. It
is over when nothing runs, no replacement is unfinished, and the world stands still.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import aiohttp
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError

from lab.client import LabError
from lab.kube_client import ApiError
from lab.models import Member
from replace_etcd.models.result import Outcome, Progress, ReplacementResult
from replace_etcd.temporal import SCHEDULE
from tests.robustness.explorer.stage import WORKFLOW_ID, Stage
from tests.robustness.explorer.story import RunStory

WITHIN = 600.0
PERIOD = 0.5
ANSWER_WITHIN = timedelta(seconds=10)
MOST_STARTS, MOST_RETRIES = 4, 8
OPEN = 'ExecutionStatus="Running"'
STILL = 4


AWAY = (RPCError, WorkflowQueryFailedError, LabError, ApiError, aiohttp.ClientError, TimeoutError, OSError)


class NoEnd(Exception):
    """The run neither ended nor rested."""


class Conclusion:
    """Sees one run to its end."""

    def __init__(self, stage: Stage, story: RunStory, pinned: str) -> None:
        self._stage = stage
        self._story = story
        self._pinned = pinned
        self._told: set[str] = set()
        self._starts = self._retries = 0

    async def reach(self) -> None:
        """Until it is over; `NoEnd` where that does not come."""
        try:
            async with asyncio.timeout(WITHIN):
                while not await self._is_over():  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(PERIOD)
        except TimeoutError:
            raise NoEnd(f"no end within {WITHIN:.0f} s after the last fault: {await self._where()}") from None

    async def _is_over(self) -> bool:
        try:
            running = await self._running()
            if running:
                for workflow_id in running:
                    await self._let_go_on(workflow_id)
                return False
            await self._tell_outcome()
            record = await self._stage.record()
            if record is not None and record.outcome is None:
                return False  # the janitor's
            members = await self._stage.lab.members()
        except AWAY as error:
            self._story.tell(f"cannot be seen: {type(error).__name__} {error}")
            return False
        if record is None and members and self._whole(members):
            return True
        if members:
            await self._start_again()
        return False

    def _whole(self, members: list[Member]) -> bool:
        """As before, or replaced, as far as the member list tells, and nobody has reason to start it once more."""
        if self._story.outcomes[-1:] in (["terminated"], [Outcome.LEFT_INCOMPLETE.value]):
            return False
        as_before = any(member.id == self._pinned for member in members)
        return as_before or all(member.started and not member.learner for member in members)

    async def _running(self) -> list[str]:
        """Every run but the janitor's sweeps. Visibility lags behind, so the newest run is asked for itself."""
        listing = self._stage.client.list_workflows(OPEN)
        found = {item.id async for item in listing if not item.id.startswith(SCHEDULE)}
        return sorted(found | ({WORKFLOW_ID} if await runs(self._stage) else set()))

    async def _let_go_on(self, workflow_id: str) -> None:
        """Where it waits for people, they say `retry`."""
        if not workflow_id.startswith(WORKFLOW_ID):
            return
        handle = self._stage.client.get_workflow_handle(workflow_id)
        progress = Progress.model_validate(await handle.query("progress", rpc_timeout=ANSWER_WITHIN))
        if "resolve retry" not in progress.choices:
            return
        self._retries += 1
        if self._retries > MOST_RETRIES:
            raise NoEnd(f"it holds again after {MOST_RETRIES} times `retry`")
        record = await self._stage.record()
        self._story.tell(f"holds: {record.reason if record else 'there is no record'}; told retry")
        with suppress(WorkflowUpdateFailedError):
            await handle.execute_update(
                "resolve", {"choice": "retry", "by": "the explorer", "reason": "lifted"}
            )

    async def _start_again(self) -> None:
        self._starts += 1
        if self._starts > MOST_STARTS:
            raise NoEnd(f"unfinished after {MOST_STARTS} more starts: {self._story.outcomes[-1:]}")
        self._story.tell(f"unfinished: started again, run {await self._stage.start()}")

    async def _tell_outcome(self) -> None:
        """Once for each run that has ended."""
        description = await self._stage.client.get_workflow_handle(WORKFLOW_ID).describe()
        if description.run_id in self._told:
            return
        self._told.add(description.run_id)
        outcome, reason = await _outcome(self._stage, description.run_id)
        self._story.outcomes.append(outcome)
        self._story.tell(f"run {description.run_id} ended: {outcome} {reason}")

    async def _where(self) -> str:
        with suppress(*AWAY):
            running = await self._running()
            record = await self._stage.record()
            return f"running {running}, record {record.phase if record else None}, {self._story.outcomes}"
        return "nothing answers"


async def runs(stage: Stage) -> bool:
    """Whether the newest run is under way."""
    description = await stage.client.get_workflow_handle(WORKFLOW_ID).describe(rpc_timeout=ANSWER_WITHIN)
    return description.status is WorkflowExecutionStatus.RUNNING


async def until_nothing_runs(stage: Stage) -> None:
    """Until nothing runs, for a while, and no replacement is unfinished: a fault that comes later meets nobody."""
    seen = 0
    while seen < STILL:
        await asyncio.sleep(1.0)
        with suppress(*AWAY):
            idle = not await runs(stage) and await stage.record() is None
            seen = seen + 1 if idle else 0


async def _outcome(stage: Stage, run_id: str) -> tuple[str, str]:
    handle = stage.client.get_workflow_handle(WORKFLOW_ID, run_id=run_id, result_type=ReplacementResult)
    try:
        result = await handle.result(follow_runs=False)
    except WorkflowFailureError as failure:
        cause = failure.cause
        if isinstance(cause, CancelledError):
            return Outcome.CANCELLED.value, ""
        if isinstance(cause, TerminatedError):
            return "terminated", ""
        if isinstance(cause, ApplicationError) and cause.details:
            result = ReplacementResult.model_validate(cause.details[0])
            return result.outcome.value, result.reason
        return f"failed: {cause}", ""
    left = f"left: {result.left}" if result.left else ""
    return result.outcome.value, left
