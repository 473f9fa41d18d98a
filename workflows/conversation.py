"""What every replacement says and is told: queries, updates, its page, and how it ends.

The choreography is in workflows/replace_etcd_replica.py; here is its voice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.chronicle import Chronicle
from workflows.saga import Saga, every_end_leaves_a_command

with workflow.unsafe.imports_passed_through():
    from activities.runs import RunActivities
    from replace_etcd.audit.events import EventKind
    from replace_etcd.models.notice import Asks
    from replace_etcd.models.phase import Phase
    from replace_etcd.models.plan import Backup, Member, Plan
    from replace_etcd.models.request import Approval, ReplacementRequest, Resolution, Word
    from replace_etcd.models.result import Outcome, Progress, ReplacementResult, Snapshot
    from replace_etcd.narration import details, invalid_input
    from replace_etcd.search_attributes import (
        FAILED_REPLICA,
        INCIDENT,
        OUTCOME,
        PHASE,
        REQUESTED_BY,
        USER_CLUSTER,
    )

ERROR_TYPES = {
    Outcome.REFUSED: "PreflightRefused",
    Outcome.DECLINED: "ApprovalDeclined",
    Outcome.ROLLED_BACK: "RolledBack",
    Outcome.LEFT_INCOMPLETE: "LeftIncomplete",
}


@dataclass(frozen=True)
class Question:
    """What a replacement waits for people to say, and until when."""

    waiting_for: str
    choices: list[str]
    deadline: datetime
    why: str = ""


APPROVAL, HELD, NODE_DOWN = "approval", "resolve", "node"


class Conversation:
    """The state of one replacement, and everything that speaks of it."""

    def __init__(self) -> None:
        self._chronicle = Chronicle(self._show)
        self._saga = Saga(self._show, self._chronicle.step)
        self._request: ReplacementRequest  # set as soon as the input is accepted
        self._plan: Plan | None = None
        self._approval: Approval | None = None
        self._declined: Approval | None = None
        self._question: Question | None = None
        self._resolution: Resolution | None = None
        self._node_down: Word | None = None
        self._aborted: Word | None = None
        self._outcome: Outcome | None = None
        self._reason = ""
        self._backup = Backup()
        self._snapshot: Snapshot | None = None
        self._new_member_id: str | None = None
        self._members: list[Member] = []

    @workflow.update(name="approve")
    async def approve(self, approval: Approval) -> None:
        """Let a replacement that waits for approval go on."""
        self._approval = approval
        self._chronicle.heard(EventKind.APPROVED, approval)

    @workflow.update(name="decline")
    async def decline(self, approval: Approval) -> None:
        """Refuse a replacement that waits for approval."""
        self._declined = approval
        self._chronicle.heard(EventKind.DECLINED, approval)

    @workflow.update(name="resolve")
    async def resolve(self, resolution: Resolution) -> None:
        """Say what is to become of a replacement that holds: look again and go on, or leave it as it is."""
        self._resolution = resolution
        self._chronicle.heard(EventKind.RESOLVED, resolution)

    @workflow.update(name="confirm_node_down")
    async def confirm_node_down(self, word: Word) -> None:
        """Stand for it that the machine of the failed replica is off, so that its pod may be deleted by force."""
        self._node_down = word
        self._chronicle.heard(EventKind.NODE_CONFIRMED_DOWN, word)

    @workflow.update(name="abort")
    async def abort(self, word: Word) -> None:
        """Stop: before the removal everything goes back, after it the replacement is finished."""
        self._aborted = word
        self._chronicle.heard(EventKind.ABORTED, word)
        self._saga.request_stop()

    @approve.validator
    def _may_approve(self, approval: Approval) -> None:
        del approval
        self._must_wait_for("approve", heard=self._approval or self._declined)

    @decline.validator
    def _may_decline(self, approval: Approval) -> None:
        del approval
        self._must_wait_for("decline", heard=self._approval or self._declined)

    @resolve.validator
    def _may_resolve(self, resolution: Resolution) -> None:
        self._must_wait_for(f"resolve {resolution.choice.value}", heard=self._resolution)

    @confirm_node_down.validator
    def _may_confirm_node_down(self, word: Word) -> None:
        del word
        self._must_wait_for("confirm_node_down", heard=self._node_down)

    @abort.validator
    def _may_abort(self, word: Word) -> None:
        del word
        if self._outcome is not None:
            raise ApplicationError(f"this replacement has ended: {self._outcome.value}")

    @workflow.query(name="progress")
    def progress(self) -> Progress:
        """Where the replacement stands."""
        saga, question = self._saga, self._question
        return Progress(
            phase=saga.phase,
            outcome=self._outcome,
            steps=saga.steps,
            current=saga.current,
            current_since=saga.current_since,
            waiting_for=question.waiting_for if question else None,
            choices=question.choices if question else [],
            deadline=question.deadline if question else None,
            reason=question.why if question else self._reason,
            verdicts=self._plan.checks if self._plan else [],
        )

    def _must_wait_for(self, choice: str, *, heard: object) -> None:
        choices = self._question.choices if self._question else []
        if choice not in choices or heard:
            there = f"; it can be told: {', '.join(choices)}" if choices else ""
            raise ApplicationError(
                f"this replacement does not wait for {choice}: it is {self._saga.phase.value}{there}"
            )

    async def _ask(
        self, waiting_for: str, choices: list[str], limit: timedelta, heard: Callable[[], bool], why: str = ""
    ) -> bool:
        """Wait until people have said something; False where nobody did in time.

        A stop ends the wait too; one that was asked for before has been heard already.
        """
        before = self._saga.stops
        self._question = Question(waiting_for, choices, workflow.now() + limit, why)
        self._show()
        asks = Asks.WAITING_FOR_APPROVAL if waiting_for == APPROVAL else Asks.HELD
        self._chronicle.asks(asks, why, choices, self._question.deadline)
        try:
            await workflow.wait_condition(
                lambda: heard() or self._saga.stops > before,
                timeout=limit,
                timeout_summary=f"waits for: {' or '.join(choices)}",
            )
        except TimeoutError:
            return False
        finally:
            self._question = None
        return True

    def _begin(self, submitted: Any) -> ReplacementRequest:
        """Accept the input; from here on the replacement is found by its search attributes."""
        self._request = request = _accepted(submitted)
        workflow.upsert_search_attributes(
            [
                USER_CLUSTER.value_set(request.user_cluster),
                FAILED_REPLICA.value_set(request.failed_replica or ""),
                INCIDENT.value_set(_keyword(request.incident)),
                REQUESTED_BY.value_set(_keyword(request.requested_by)),
                OUTCOME.value_unset(),  # the Web UI's start form copies those of the run before
            ]
        )
        self._chronicle.begin(request)
        return request

    def _hear_of_a_cancel(self) -> None:
        self._chronicle.note(EventKind.STOP_REQUESTED, by="a cancel of the workflow")
        self._saga.request_stop()
        if every_end_leaves_a_command():
            self._show()

    async def _ask_for_approval(self, limit: timedelta) -> bool:
        return await self._ask(
            APPROVAL, ["approve", "decline"], limit, lambda: bool(self._approval or self._declined)
        )

    async def _cancelled(self, what: str) -> NoReturn:
        """End as cancelled; the server calls a run so only where a cancel of its own was asked for."""
        by = f" by {self._aborted.by}: {self._aborted.reason or '-'}" if self._aborted else ""
        self._finish(Outcome.CANCELLED, f"stopped before the removal{by}; {what}")
        if workflow.cancellation_reason() is None:
            await self._saga.request_cancellation(RunActivities.request_cancellation)
            await workflow.wait_condition(lambda: workflow.cancellation_reason() is not None)
        raise asyncio.CancelledError

    def _fail(self, outcome: Outcome, reason: str) -> NoReturn:
        result = self._finish(outcome, reason)
        raise ApplicationError(reason, result, type=ERROR_TYPES[outcome], non_retryable=True)

    def _end(self, outcome: Outcome) -> ReplacementResult:
        return self._finish(outcome, "")

    def _finish(self, outcome: Outcome, reason: str) -> ReplacementResult:
        """The one place where an outcome is set: result, search attributes and page agree."""
        self._outcome, self._reason = outcome, reason
        saga = self._saga
        if outcome is Outcome.REPLACED:
            saga.enter(Phase.DONE)
        workflow.upsert_search_attributes([OUTCOME.value_set(outcome.value)])
        pins = self._plan.pins if self._plan else None
        self._show()
        result = ReplacementResult(
            outcome=outcome,
            user_cluster=self._request.user_cluster,
            replica=pins.replica if pins else self._request.failed_replica,
            old_member_id=pins.member_id if pins else None,
            new_member_id=self._new_member_id,
            reason=reason,
            restored=saga.restored,
            left=saga.left,
            cancel_requested=saga.stop_requested,
            approved_by=self._approval.approver if self._approval else None,
            steps=saga.steps,
            members=self._members,
            snapshot=self._snapshot,
            resumed_from=self._plan.resume.step if self._plan and self._plan.resume else None,
            plan=self._plan,
        )
        self._chronicle.ends(result)
        return result

    def _show(self) -> None:
        """Phase and page follow the saga."""
        workflow.upsert_search_attributes([PHASE.value_set(self._saga.phase.value)])
        page = details(workflow.info().workflow_id, self._request, self._plan, self.progress())
        workflow.set_current_details(page)


def _keyword(text: str | None) -> str:
    """Its beginning: Temporal ends a run that sets a value of more than 2 KiB of JSON, up to 12 bytes a character."""
    return (text or "")[:160]


def _accepted(submitted: Any) -> ReplacementRequest:
    """The request, or `InvalidInput` that names each field, what is wrong with it, and the way out."""
    try:
        return ReplacementRequest.model_validate(submitted)
    except ValidationError as error:
        reason = invalid_input(error)
        raise ApplicationError(reason, type="InvalidInput", non_retryable=True) from None
