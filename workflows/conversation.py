"""What every replacement says and is told: queries, updates, its page, and how it ends.

The choreography is in workflows/replace_etcd_replica.py; here is its voice.
"""

import asyncio
from datetime import datetime
from typing import Any, NoReturn

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.saga import Saga

with workflow.unsafe.imports_passed_through():
    from replace_etcd.models.phase import Phase
    from replace_etcd.models.plan import Backup, Member, Plan
    from replace_etcd.models.request import Approval, ReplacementRequest
    from replace_etcd.models.result import Outcome, Progress, ReplacementResult
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


class Conversation:
    """The state of one replacement, and everything that speaks of it."""

    def __init__(self) -> None:
        self._saga = Saga(self._show)
        self._request: ReplacementRequest  # set as soon as the input is accepted
        self._plan: Plan | None = None
        self._approval: Approval | None = None
        self._declined: Approval | None = None
        self._outcome: Outcome | None = None
        self._reason = ""
        self._deadline: datetime | None = None
        self._backup = Backup()
        self._new_member_id: str | None = None
        self._members: list[Member] = []

    @workflow.update(name="approve")
    async def approve(self, approval: Approval) -> None:
        """Let a replacement that waits for approval go on."""
        self._approval = approval

    @workflow.update(name="decline")
    async def decline(self, approval: Approval) -> None:
        """Refuse a replacement that waits for approval."""
        self._declined = approval

    @approve.validator
    def _may_approve(self, approval: Approval) -> None:
        del approval
        self._must_wait_for_approval()

    @decline.validator
    def _may_decline(self, approval: Approval) -> None:
        del approval
        self._must_wait_for_approval()

    @workflow.query(name="progress")
    def progress(self) -> Progress:
        """Where the replacement stands."""
        saga = self._saga
        waiting = saga.phase is Phase.WAITING_FOR_APPROVAL and self._outcome is None
        return Progress(
            phase=saga.phase,
            outcome=self._outcome,
            steps=saga.steps,
            current=saga.current,
            current_since=saga.current_since,
            waiting_for="approval" if waiting else None,
            choices=["approve", "decline"] if waiting else [],
            deadline=self._deadline if waiting else None,
            verdicts=self._plan.checks if self._plan else [],
        )

    def _must_wait_for_approval(self) -> None:
        if self._saga.phase is not Phase.WAITING_FOR_APPROVAL or self._approval or self._declined:
            raise ApplicationError(
                f"this replacement does not wait for approval: it is {self._saga.phase.value}"
            )

    def _begin(self, submitted: Any) -> ReplacementRequest:
        """Accept the input; from here on the replacement is found by its search attributes."""
        self._request = request = _accepted(submitted)
        workflow.upsert_search_attributes(
            [
                USER_CLUSTER.value_set(request.user_cluster),
                FAILED_REPLICA.value_set(request.failed_replica or ""),
                INCIDENT.value_set(request.incident or ""),
                REQUESTED_BY.value_set(request.requested_by or ""),
                OUTCOME.value_unset(),  # the Web UI's start form copies those of the run before
            ]
        )
        return request

    def _cancelled(self, what: str) -> NoReturn:
        self._finish(Outcome.CANCELLED, f"stopped before the removal; {what}")
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
        return ReplacementResult(
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
            plan=self._plan,
        )

    def _show(self) -> None:
        """Phase and page follow the saga."""
        workflow.upsert_search_attributes([PHASE.value_set(self._saga.phase.value)])
        workflow.set_current_details(details(self._request, self._plan, self.progress(), self._reason))


def _accepted(submitted: Any) -> ReplacementRequest:
    """The request, or `InvalidInput` that names each field, what is wrong with it, and the way out."""
    try:
        return ReplacementRequest.model_validate(submitted)
    except ValidationError as error:
        reason = invalid_input(error)
        raise ApplicationError(reason, type="InvalidInput", non_retryable=True) from None
