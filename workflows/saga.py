"""The saga: carry out a step, remember how to undo it, and undo in the order that is safe.

Compensations do not run in reverse order of their steps: the PodDisruptionBudget is always safe to put back, so
it comes first, and the node is uncordoned last (docs/contract.md, Rules of the saga, 2).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.workflow import ActivityCancellationType

from workflows import options

with workflow.unsafe.imports_passed_through():
    from replace_etcd.models.orders import Done, Fence, Left, RunQuestion
    from replace_etcd.models.phase import BEFORE_THE_REMOVAL, Phase, further
    from replace_etcd.models.plan import Pins
    from replace_etcd.models.request import Limits
    from replace_etcd.models.result import Step

O = TypeVar("O", bound=BaseModel)  # noqa: E741 - an order
R = TypeVar("R", bound=Done)
Activity = Callable[[Any, O], Awaitable[R]]

ROLL_BACK_ORDER = (
    "restore_pod_disruption_budget",
    "restore_flag_and_strategy",
    "replace_pod_with_wrong_flag",
    "delete_utility_pod",
    "uncordon_node",
    "delete_replacement_record",
)
# Steps after which something that was taken away, or put there, is as it was before.
GIVES_BACK = {*ROLL_BACK_ORDER, "restore_initial_cluster_state", "restore_update_strategy"}
# Steps that may wait for long are interrupted by a stop; all others are let finish, since they are short.
INTERRUPTIBLE = {
    "preflight",
    "create_utility_pod",
    "watch_failed_member",
    "evict_failed_pod",
    "wait_until_failed_pod_is_gone",
    "drain_node",
    "take_node",
    "take_snapshot",
}


def every_end_leaves_a_command() -> bool:
    """Whether what ends beside the steps is to be shown: not so in histories that are older than this rule.

    A worker that reads a history from its beginning takes a workflow task for a heartbeat that led to no command after
    another one that led to none, and meets what it brought together with an answer that the next one brings; once an
    update was accepted there, a replay has the two apart, and in the other order (temporalio/sdk-core,
    worker/workflow/history_update.rs). So no end of an activity, and no cancel, is without a command: the phase is
    upserted.
    """
    return workflow.patched("every-end-leaves-a-command")


def nothing_begun_is_forgotten() -> bool:
    """Whether what earlier runs have begun, or sent, counts as this run's own: not so in older histories."""
    return workflow.patched("nothing-begun-is-forgotten")


def begin(
    activity: Activity[O, R],
    order: O,
    summary: str,
    patience: options.Patience,
    retry: RetryPolicy,
    *,
    cancellation: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL,
) -> workflow.ActivityHandle[R]:
    """Start an activity with what all of them have in common."""
    return workflow.start_activity_method(
        activity,
        order,
        summary=summary,
        start_to_close_timeout=patience.attempt,
        schedule_to_close_timeout=patience.total,
        heartbeat_timeout=options.HEARTBEAT,
        retry_policy=retry,
        cancellation_type=cancellation,
    )


class Stopped(Exception):
    """Somebody asked for a stop while there was a way back."""


class StepFailed(Exception):
    """A step failed for good."""

    def __init__(self, name: str, kind: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name
        self.kind = kind
        self.why = why

    @property
    def forgets_the_removal(self) -> bool:
        """Whether this run was reset to before a removal that has happened."""
        return self.kind == "RemovalForgotten"

    @property
    def lacks_room(self) -> bool:
        """Whether somebody has taken away since, or taken, what room was made for."""
        return self.kind in ("UtilityPodGone", "VolumeTaken")

    @property
    def forgets_what_was_begun(self) -> bool:
        """Whether this run was reset, and may have been to before what is to be put back."""
        return self.kind == "MoreToPutBack"

    @property
    def is_late(self) -> bool:
        """Whether another order has the record, so that this run must not even compensate."""
        return self.kind in ("LockLost", "RemovalForgotten")


class Saga:
    """Runs the steps of one replacement, and its compensations."""

    def __init__(
        self, changed: Callable[[], None], noted: Callable[[Step, Phase, Done | None], None] = lambda *_: None
    ) -> None:
        self.steps: list[Step] = []
        self.left: list[str] = []
        self.restored: list[str] = []
        self.phase = self._furthest = Phase.PREFLIGHT
        self.current: str | None = None
        self.current_since: datetime | None = None
        self.stops = 0
        self.past_the_point_of_no_return = False
        self._changed = changed
        self._noted = noted
        self._compensations: dict[str, Callable[[timedelta | None], Awaitable[Done]]] = {}
        self._generation = 0
        self._running: workflow.ActivityHandle[Any] | None = None
        self._guard_shows_its_end: asyncio.Task[None] | None = None
        self.pins: Pins  # bound before the first order
        self.knows_every_way_back = False
        self._limits = Limits()
        self._heir_of: list[str] = []

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked for a stop: by the server's cancel, or by the update `abort`."""
        return self.stops > 0

    @property
    def how_much_is_back(self) -> str:
        """What is said after the ways back were taken."""
        return f"everything is back, but: {'; '.join(self.left)}" if self.left else "everything is back"

    def bind(self, pins: Pins, limits: Limits, *, heir_of: list[str] | None = None) -> None:
        """From here on every order carries these pins, and names those whose record this run has taken over."""
        self.pins = pins
        self._limits = limits
        self._heir_of = heir_of or []

    def enter(self, phase: Phase) -> None:
        """Begin a phase: every order given from now on names it.

        Once the member is removed, making room for its successor once more is part of the cleaning.
        """
        removed = self.past_the_point_of_no_return
        self.phase = Phase.CLEANING if removed and phase in BEFORE_THE_REMOVAL else phase
        self._furthest = further(self._furthest, self.phase)
        self._changed()

    def request_stop(self) -> None:
        """Stop as soon as the step under way ends, if there is still a way back."""
        self.stops += 1
        if (
            self._running is not None
            and self.current in INTERRUPTIBLE
            and not self.past_the_point_of_no_return
        ):
            self._running.cancel()

    async def look(self, activity: Activity[O, R], question: O, summary: str) -> R:
        """Carry out a read-only step, which needs neither pins nor fence."""
        return await self._run(activity, question, summary)

    async def step(self, activity: Activity[O, R], order: type[O], summary: str, /, **fields: Any) -> R:
        """Carry out one step; `Stopped` after it where a stop was asked for, `StepFailed` where it failed for good."""
        return await self._run(activity, self._order(order, fields), summary)

    async def _run(self, activity: Activity[O, R], order: O, summary: str) -> R:
        if self.stop_requested and not self.past_the_point_of_no_return:
            raise Stopped
        name = activity.__name__
        removed = self.past_the_point_of_no_return
        patience = options.patience_of(name, self._limits, removed=removed)
        retry = options.UNTIL_LATE if removed else options.UNTIL_FINAL
        result = await self._execute(activity, order, summary, patience, retry)
        if self.stop_requested and not self.past_the_point_of_no_return:
            raise Stopped
        return result

    async def cross(self, activity: Activity[O, R], order: type[O], summary: str, /, **fields: Any) -> R:
        """Carry out the step that is the point of no return: no stop interrupts it, and none undoes it."""
        if self.stop_requested:
            raise Stopped
        self.past_the_point_of_no_return = True
        patience = options.FORWARD[activity.__name__]
        crossing = self._order(
            order, fields
        )  # it is the activity that writes `removing`, right before the command
        self.enter(Phase.REMOVING)
        return await self._execute(activity, crossing, summary, patience, options.UNTIL_FINAL)

    def undo_with(self, activity: Activity[O, R], order: type[O], summary: str, /, **fields: Any) -> None:
        """Register a compensation, before the step that it undoes."""

        async def compensate(within: timedelta | None) -> Done:
            return await self._compensate(activity, self._order(order, fields), summary, within)

        self._compensations[activity.__name__] = compensate

    async def compensate(self, activity: Activity[O, R], order: type[O], summary: str, /, **fields: Any) -> R:
        """Run one compensation, retried without limit."""
        return await self._compensate(activity, self._order(order, fields), summary, None)

    async def _compensate(
        self, activity: Activity[O, R], order: O, summary: str, within: timedelta | None
    ) -> R:
        patience = replace(options.COMPENSATIONS[activity.__name__], total=within)
        return await self._execute(activity, order, summary, patience, options.UNTIL_LATE)

    async def settle(self, activity: Activity[O, R], order: type[O], summary: str) -> R:
        """Ask what became of a removal: as whoever has sent it, since the record may be another run's, or gone."""
        return await self._compensate(activity, self._order(order, {}, Phase.REMOVING), summary, None)

    async def roll_back(self) -> None:
        """Undo everything that was begun."""
        self.enter(Phase.ROLLING_BACK)
        await self._undo(ROLL_BACK_ORDER)

    async def rest_safely(self, *, removed: bool) -> str:
        """After the removal: budget back, utility Pod gone, node uncordoned; `existing` and `OnDelete` stay.

        Where the member may still be listed the node stays cordoned: an empty directory that starts with `existing`
        could rejoin under its old id, with its votes forgotten. So it does where the utility Pod does not go, as on
        a node that is dead: nobody would be asked if it were waited for. Returns what else there is to say, or "".
        """
        await self._undo(("restore_pod_disruption_budget",))
        try:
            await self._undo(("delete_utility_pod",), within=options.BEFORE_ANYBODY_IS_ASKED)
        except StepFailed as error:
            if error.is_late:
                raise
            return f"the utility Pod is not gone, and the node stays cordoned: {error.why}"
        if removed:
            await self._undo(("uncordon_node",))
        return ""

    async def _undo(self, names: tuple[str, ...], within: timedelta | None = None) -> None:
        for name in names:
            if name in self._compensations:
                await self._compensations[name](within)

    def start_guard(
        self, activity: Activity[O, R], order: type[O], summary: str
    ) -> workflow.ActivityHandle[Any]:
        """Start an activity that stands guard until it is ended; it is no step, and its end is no result."""
        guard = self._start(
            activity,
            self._order(order, {}),
            summary,
            options.patience_of(activity.__name__, self._limits, removed=True),
            options.UNTIL_LATE,
        )
        self._guard_shows_its_end = asyncio.create_task(self._show_when_it_ends(guard))
        return guard

    async def _show_when_it_ends(self, guard: workflow.ActivityHandle[Any]) -> None:
        await workflow.wait([guard])
        if every_end_leaves_a_command():
            self._changed()

    async def end_guard(self, guard: workflow.ActivityHandle[Any]) -> None:
        """End the guard, and wait until it has ended."""
        guard.cancel()
        with suppress(ActivityError):
            await guard

    async def request_cancellation(self, activity: Callable[[Any, RunQuestion], Awaitable[Any]]) -> None:
        """Ask the server to cancel this run, after everything else."""
        info = workflow.info()
        await workflow.execute_activity_method(
            activity,
            RunQuestion(workflow_id=info.workflow_id, run_id=info.run_id),
            summary="end as cancelled",
            start_to_close_timeout=options.COMPENSATIONS["request_cancellation"].attempt,
            retry_policy=options.UNTIL_LATE,
        )

    def _order(self, order: type[O], fields: dict[str, Any], phase: Phase | None = None) -> O:
        self._generation += 1
        phase = phase or self.phase
        info = workflow.info()
        fence = Fence(
            workflow_id=info.workflow_id,
            first_run_id=info.first_execution_run_id,
            run_id=info.run_id,
            generation=self._generation,
            phase=phase,
            furthest=self._furthest if self.past_the_point_of_no_return else Phase.PREFLIGHT,
            heir_of=self._heir_of,
            every_way_back=self.knows_every_way_back,
        )
        return order(pins=self.pins, fence=fence, **fields)

    async def _execute(
        self, activity: Activity[O, R], order: O, summary: str, patience: options.Patience, retry: Any
    ) -> R:
        name = activity.__name__
        self.current, self.current_since = name, workflow.now()
        self._changed()
        self._running = self._start(activity, order, summary, patience, retry)
        try:
            result: R = await self._running
        except ActivityError as error:
            raise self._failed(name, summary, error) from error
        except asyncio.CancelledError:  # not an activity's: it was stopped before it was scheduled
            if self.stop_requested:
                raise Stopped from None
            raise
        finally:
            self._running, self.current = None, None
        done = Step(
            name=name,
            summary=summary,
            started_at=result.started_at,
            finished_at=result.finished_at,
            attempts=result.attempts,
            note=result.note,
        )
        self._remember(done, result)
        if isinstance(result, Left):
            self.left += [words for words in result.left if words not in self.left]  # a hold may have said it
        if name in GIVES_BACK:
            self.restored.append(name)
        self._changed()
        return result

    def _remember(self, step: Step, result: Done | None) -> None:
        self.steps.append(step)
        self._noted(step, self.phase, result)

    def _start(
        self, activity: Activity[O, R], order: O, summary: str, patience: options.Patience, retry: Any
    ) -> workflow.ActivityHandle[Any]:
        let_it_end = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        return begin(activity, order, summary, patience, retry, cancellation=let_it_end)

    def _failed(self, name: str, summary: str, error: ActivityError) -> Exception:
        cause = error.cause
        kind = (cause.type or "") if isinstance(cause, ApplicationError) else type(cause).__name__
        why = getattr(cause, "message", None) or str(cause or error)
        started = self.current_since or workflow.now()
        failed = Step(
            name=name,
            summary=summary,
            started_at=started,
            finished_at=workflow.now(),
            attempts=0,
            error=why,
        )
        self._remember(failed, None)
        self._changed()
        if isinstance(cause, CancelledError):
            return Stopped()
        return StepFailed(name, kind, why)
