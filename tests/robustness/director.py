"""Plays a story: one replacement of one user cluster, with the faults of its cells, and the judge's word at its end.

Faults on the wire are rules of the proxy. A cancel, a termination and a reset come while a request of the activity
is held, so that they meet it in the middle; the request is let go afterwards and acts late. Whatever ends a
replacement, it is started again until it comes to an end of its own (`go_on`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp import web
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError

from replace_etcd import replacements
from replace_etcd.models import Input
from replace_etcd.models.request import Choice, Resolution, Word
from replace_etcd.models.restoring import WORKFLOW_TYPE, RestoreResult
from replace_etcd.models.result import Outcome, ReplacementResult
from tests.resets import reset_to, tasks_that_scheduled
from tests.robustness.cells import POINT_OF_NO_RETURN, Cell, Effect, Fault, Row, Story, Way
from tests.robustness.judge import EVERYTHING_BACK, Look, judge
from tests.robustness.judge import Story as Seen
from tests.robustness.killer import Killer
from tests.robustness.proxy import (
    Call,
    Held,
    Passage,
    Rule,
    answers,
    drop_in_the_middle,
    lose_the_answer,
    on,
    reset,
)
from tests.robustness.stage import Handle, Patient, Stage, start
from tests.robustness.user_cluster import FAILED

END_WITHIN = 900.0
"""A story of seventeen faults with its leases to wait out, under the time limits as they are deployed."""
CALM_WITHIN = 30.0
GUARDED_FOR = 30.0
POLL = 0.3
ANSWER_WITHIN = timedelta(seconds=20)
"""A worker that was killed may have to come back before it takes an answer, or says that it waits for none."""
RETRIES = 4
SPEAKER = "the director"
A_WHILE = 3
"""So many requests meet an error, one after the other."""
FOR_A_WHILE = {
    Fault.HTTP_500: answers(500),
    Fault.HTTP_409: answers(409),
    Fault.HTTP_403: answers(403),
    Fault.HTTP_429: answers(429, retry_after=1),
    Fault.CONNECTION_RESET: reset,
}
ONCE = {Fault.FAILS: answers(500), Fault.LOST: lose_the_answer}
INTERRUPTION = Cell(Row(Way.FORWARD, "cordon_node", 6, Effect.CHANGE, has_exec=False), Fault.JANITOR)
"""A moment at which there is something to put back."""
FORGETTING = Cell(
    Row(
        Way.RESET, "restore_pod_disruption_budget", 0, Effect.CHANGE, has_exec=False, begin=POINT_OF_NO_RETURN
    ),
    Fault.RESET,
)
"""On the way back; the run that goes on does not know how much of it was done."""
ON_THE_WAY = (INTERRUPTION, FORGETTING)
JANITORS = 8
REJOIN = {"limits": {"rejoin": "PT3S"}}


@dataclass
class Verdict:
    """How a story ended."""

    story: Story
    outcome: str = "did not end"
    reason: str = ""
    wrong: list[str] = field(default_factory=list)
    reached: set[Cell] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)


class Play:
    """One story while it is played."""

    def __init__(self, stage: Stage, story: Story, queue: str, killer: Killer | None) -> None:
        self.verdict = Verdict(story)
        self._stage = stage
        self._story = story
        self._namespace = ""
        self._queue = queue
        self._killer = killer
        self._held: list[Held] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._handle: Handle
        self._patient: Patient
        self._before: Look
        self._started_anew = asyncio.Event()
        self._asked = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        """A request can be held for two cells: a run that one of them has ended must not be reset by the other.

        What is done to the janitor happens within the turn of the one that left it to him."""
        self._at_the_end: list[Cell] = []
        self._seen_in: set[str] = set()
        self._restoring: WorkflowHandle[Any, Any]

    async def run(self, pod_management: str) -> Verdict:
        """Play it, and judge."""
        alarm = Way.ALARMED in self._story.ways
        dead = Way.DEAD in self._story.ways
        self._patient = await self._stage.user_cluster(pod_management, alarm=alarm, dead=dead)
        self._namespace = self._patient.namespace
        try:
            outcome = await self._played()
        except BaseException:
            await self._stage.retire(self._patient)
            raise
        if (
            not self.verdict.wrong
            and not dead
            and (outcome is Outcome.REPLACED or (outcome in EVERYTHING_BACK and not alarm))
        ):
            self._stage.give_back(self._patient, pod_management)
        else:
            await self._stage.retire(self._patient)
        return self.verdict

    async def _played(self) -> Outcome:
        """How it ended; what is wrong is in the verdict."""
        if Way.HELD in self._story.ways:
            await self._patient.keep_from_rejoining()
        self._before = await self._patient.look()
        self._stage.proxy.rules[self._namespace] = [self._note(), *self._rules(), *self._led_astray()]
        self._tasks.append(asyncio.create_task(self._answer_holds()))
        if self._killer is not None:
            self._killer.join(self)
        try:
            self._handle = await self.go_on()
            async with asyncio.timeout(END_WITHIN):
                outcome = await self._end()
        except TimeoutError:
            self.verdict.wrong = [f"it did not end: {self._state()}"]
            with suppress(RPCError):
                await self._handle.terminate("its story is over")
            return Outcome.INTERRUPTED
        finally:
            await self._stop()
        self.verdict.outcome = outcome.value
        if (await self._patient.look()).recorded == "":
            # A run that gives up without a word leaves its record to the janitor, which the Schedule starts.
            await self._janitor()
            outcome = Outcome.INTERRUPTED
        self.verdict.wrong += await self._judged(outcome)
        if outcome is Outcome.LEFT_INCOMPLETE and Way.HELD not in self._story.ways:
            self.verdict.wrong.append("it was given up")
        if not await self._takes_writes():
            self.verdict.wrong.append("a write is refused")
        await self._patient.let_rejoin()
        return outcome

    async def _takes_writes(self) -> bool:
        """Nobody can write under an alarm whose member stays."""
        stays = Way.ALARMED in self._story.ways and not self._patient.removed
        return stays or await self._patient.takes_writes()

    async def go_on(self) -> Handle:
        """Start the replacement, or start it again after it was ended from outside: it resumes."""
        fields: dict[str, Any] = REJOIN if Way.HELD in self._story.ways else {}
        return await start(
            self._stage, "ReplaceEtcdReplica", "replace-etcd", self._namespace, self._queue, **fields
        )

    # The faults

    def _note(self) -> Rule:
        """See every request."""

        def matches(call: Call) -> bool:
            self.verdict.calls.append(call)
            self._seen_in.add(call.activity)
            return False

        return Rule(matches, reset)

    def _led_astray(self) -> list[Rule]:
        """What leads a replacement off the good way, and asks what to do where it holds."""

        async def asked(passage: Passage) -> web.StreamResponse:
            self._asked.set()
            return await passage.through()

        rules = [Rule(on("note_hold"), asked, times=None)]
        if Way.INTERRUPTED in self._story.ways:
            rules += self._in_the_middle(INTERRUPTION)
        if Way.RESET in self._story.ways:
            rules += self._in_the_middle(FORGETTING)
        if self._story.ways & {Way.BACK, Way.RESET}:
            rules.append(Rule(on("remove_member", path="/configmaps"), answers(403), times=None))
        return rules

    def _rules(self) -> list[Rule]:
        return [rule for cell in self._story.cells for rule in self._rules_of(cell)]

    def _rules_of(self, cell: Cell) -> list[Rule]:
        row, fault = cell.row, cell.fault
        if fault in FOR_A_WHILE:
            return [self._rule(cell, self._once_off(cell, on(row.activity)), FOR_A_WHILE[fault], A_WHILE)]
        if fault is Fault.DROPPED:
            return [self._rule(cell, self._once_off(cell, row.is_command), drop_in_the_middle)]
        if fault in ONCE:
            return [self._rule(cell, self._effect(cell), ONCE[fault])]
        if fault is Fault.TWIN:
            return self._twin(cell)
        return [self._killed(cell)] if fault is Fault.KILLED else self._in_the_middle(cell)

    def _once_off(self, cell: Cell, matches: Callable[[Call], bool]) -> Callable[[Call], bool]:
        """Match only where the replacement has left the forward way, if that is where the cell's way begins."""
        return lambda call: (not cell.row.begin or cell.row.begin in self._seen_in) and matches(call)

    def _effect(self, cell: Cell) -> Callable[[Call], bool]:
        """Match the request that the fault is for."""
        return self._once_off(cell, cell.row.is_effect)

    def _rule(self, cell: Cell, matches: Callable[[Call], bool], act: Any, times: int | None = 1) -> Rule:
        async def reached(passage: Passage) -> web.StreamResponse:
            self.verdict.reached.add(cell)
            response: web.StreamResponse = await act(passage)
            return response

        return Rule(matches, reached, times)

    def _twin(self, cell: Cell) -> list[Rule]:
        """The first attempt's request is on its way until the activity is over; then it acts."""
        held = self._hold()

        async def let_go(passage: Passage) -> web.StreamResponse:
            held.release()
            return await passage.through()

        return [self._rule(cell, self._effect(cell), held), Rule(self._later(cell), let_go)]

    def _killed(self, cell: Cell) -> Rule:
        """Every attempt is held until the worker is killed; what was under way acts all the same."""
        killer = self._killer
        assert killer is not None

        async def until_killed(passage: Passage) -> web.StreamResponse:
            if cell in self.verdict.reached:
                return await passage.through()
            await killer.kill(self, cell)
            self.verdict.reached.add(cell)
            with suppress(ConnectionError):
                await passage.to_the_end()
            return passage.drop()

        return Rule(self._effect(cell), until_killed, times=None)

    def _in_the_middle(self, cell: Cell) -> list[Rule]:
        """What is done to the workflow while a request of the activity, or of the next one, is held."""
        done: dict[Fault, Callable[[Cell, Held], Awaitable[bool]]] = {
            Fault.CANCELLED: self._cancel,
            Fault.TERMINATED: self._terminate,
            Fault.TERMINATED_AFTER: self._terminate,
            Fault.JANITOR: self._leave_it_to_the_janitor,
            Fault.RESET: self._reset,
        }
        afterwards = cell.fault in (Fault.TERMINATED_AFTER, Fault.RESET)
        if afterwards and cell.row.is_last:
            self._at_the_end.append(cell)
            return []
        held = self._hold()

        async def act() -> None:
            await held.arrived.wait()
            async with nullcontext() if cell.row.way is Way.INTERRUPTED else self._one_at_a_time:
                if await done[cell.fault](cell, held) and cell not in ON_THE_WAY:
                    self.verdict.reached.add(cell)
            held.release()

        self._tasks.append(asyncio.create_task(act()))
        return [Rule(self._later(cell) if afterwards else self._effect(cell), held)]

    def _hold(self) -> Held:
        held = Held()
        self._held.append(held)
        return held

    def _later(self, cell: Cell) -> Callable[[Call], bool]:
        """Match what comes after an activity."""
        begun, is_effect = False, self._effect(cell)

        def matches(call: Call) -> bool:
            nonlocal begun
            if call.activity == cell.row.activity:
                begun = begun or is_effect(call)
                return False
            return begun and bool(call.namespace) and call.activity != "stand_guard"

        return matches

    async def _cancel(self, cell: Cell, held: Held) -> bool:
        await self._run_of(cell).cancel()
        return True

    async def _terminate(self, cell: Cell, held: Held) -> bool:
        if cell.row.way is Way.INTERRUPTED:  # the Schedule starts another janitor
            await self._restoring.terminate(cell.name)
            return True
        await self._handle.terminate(cell.name)
        self._handle = await self.go_on()
        self._started_anew.set()
        return True

    async def _leave_it_to_the_janitor(self, cell: Cell, held: Held) -> bool:
        """The janitor puts back, or to rest, what the end of the run has left; then somebody starts it again."""
        await self._handle.terminate(cell.name)
        held.release()
        await self._janitor()
        self.verdict.wrong += [
            f"after the janitor: {said}" for said in await self._judged(Outcome.INTERRUPTED)
        ]
        self._handle = await self.go_on()
        self._started_anew.set()
        return True

    async def _janitor(self) -> None:
        """Start it, and again where it was ended or could not judge, as its Schedule does."""
        said = "nothing"
        for _ in range(JANITORS):
            self._restoring = await start(
                self._stage, WORKFLOW_TYPE, "restore-etcd", self._namespace, self._queue
            )
            with suppress(WorkflowFailureError):
                result: RestoreResult = await self._restoring.result()
                said = ", ".join(f"{found.verdict}: {found.reason}" for found in result.records)
            if (await self._patient.look()).recorded != "":
                return
            await asyncio.sleep(POLL)
        self.verdict.wrong.append(f"{JANITORS} janitors one after the other; the last said {said}")

    def _run_of(self, cell: Cell) -> WorkflowHandle[Any, Any]:
        """The run whose activity it is: the replacement's, or the janitor's."""
        return self._restoring if cell.row.way is Way.INTERRUPTED else self._handle

    async def _reset(self, cell: Cell, held: Held | None = None) -> bool:
        """Back to before the activity was scheduled; a run that resumed may have had nothing to do with it."""
        handle = self._run_of(cell)
        points = await tasks_that_scheduled(handle, cell.row.activity)
        if not points:
            return False
        run_id = handle.run_id or handle.result_run_id or ""
        client = self._stage.temporal
        again = await reset_to(client, handle.id, points[-1], run_id=run_id, why=cell.name)
        if handle is not self._handle:
            return True
        self._handle = client.get_workflow_handle(handle.id, run_id=again, result_type=ReplacementResult)
        self._started_anew.set()
        return True

    # The end

    async def _end(self) -> Outcome:
        while True:
            outcome, self.verdict.reason = await _ending(self._handle)
            if outcome is None:  # ended from outside: by us
                await self._started_anew.wait()
                self._started_anew.clear()
            elif self._at_the_end:
                cell = self._at_the_end.pop()
                if await self._reset(cell):
                    self.verdict.reached.add(cell)
                self._started_anew.clear()
            else:
                return outcome

    async def _answer_holds(self) -> None:
        """Say `retry` where it holds, `abandon` where that was what the story led to."""
        for number in range(1, 100):
            await self._asked.wait()
            self._asked.clear()
            await self._guarded()
            give_up = Way.HELD in self._story.ways or number > RETRIES
            answers: list[tuple[str, Input]] = []
            if Way.DEAD in self._story.ways:
                answers.append(("confirm_node_down", Word(by=SPEAKER, reason="it is off")))
            choice = Choice.ABANDON if give_up else Choice.RETRY
            answers.append(("resolve", Resolution(choice=choice, by=SPEAKER)))
            while not await self._said(answers):  # noqa: ASYNC110 - only the answer tells
                await asyncio.sleep(POLL)

    async def _said(self, answers: list[tuple[str, Input]]) -> bool:
        """Whether one was accepted: the run may not have asked yet, or ask for something else."""
        for update, word in answers:
            with suppress(replacements.NotTaken, RPCError, TimeoutError):
                await replacements.answer(self._handle, update, word, within=ANSWER_WITHIN)
                return True
        return False

    async def _guarded(self) -> None:
        """Leave a hold its time where a fault is meant for the guard, which an answer ends."""
        meant = [cell for cell in self._story.cells if cell.row.activity == "stand_guard"]
        with suppress(TimeoutError):
            async with asyncio.timeout(GUARDED_FOR):
                while not self.verdict.reached.issuperset(meant):  # noqa: ASYNC110 - nothing announces it
                    await asyncio.sleep(POLL)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for held in self._held:
            held.release()  # the latest that a request can act
        self._stage.proxy.rules.pop(self._namespace, None)
        if self._killer is not None:
            self._killer.leave(self)

    def _state(self) -> str:
        last = self.verdict.calls[-1].activity if self.verdict.calls else "nothing"
        missed = [cell.name for cell in self._story.cells if cell not in self.verdict.reached]
        return f"last seen in {last}; not reached: {', '.join(missed) or 'none'}"

    async def _judged(self, outcome: Outcome) -> list[str]:
        """What is wrong once everything has come to rest."""
        clock = asyncio.get_running_loop().time
        until = clock() + CALM_WITHIN
        while True:
            wrong = judge(await self._seen(outcome))
            if not wrong or clock() > until:
                return wrong
            await asyncio.sleep(POLL)

    async def _seen(self, outcome: Outcome) -> Seen:
        after = await self._patient.look()
        pinned = next(member.id for member in self._before.members if member.name == FAILED)
        if outcome is Outcome.REFUSED and all(member.id != pinned for member in after.members):
            outcome = Outcome.REPLACED  # nothing was left to do: all of a replacement's promises hold
        if outcome is Outcome.INTERRUPTED and after.recorded is None:
            outcome = Outcome.ROLLED_BACK if not self._patient.removed else Outcome.REPLACED
        acknowledged, read = await self._patient.writes()
        return Seen(
            failed=FAILED,
            pinned=pinned,
            before=self._before,
            after=after,
            outcome=outcome,
            removed=tuple(self._patient.removed),
            sightings=tuple(self._patient.sightings),
            acknowledged=acknowledged,
            read=read,
        )


async def _ending(handle: Handle) -> tuple[Outcome | None, str]:
    """How a run ended and why; no outcome where it was ended from outside."""
    try:
        result = await handle.result()
    except WorkflowFailureError as failure:
        cause = failure.cause
        if isinstance(cause, TerminatedError):
            return None, ""
        if isinstance(cause, CancelledError):
            return Outcome.CANCELLED, ""
        if not isinstance(cause, ApplicationError) or not cause.details:
            raise
        result = ReplacementResult.model_validate(cause.details[0])
    return result.outcome, result.reason
