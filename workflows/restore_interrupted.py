"""`RestoreInterruptedReplacement`: the janitor, for replacements that were ended from outside.

A terminated workflow runs no compensation. So a Schedule starts this one every minute: it looks at every record,
and has each interrupted replacement put back, or to rest safely, by a run of its own.
"""

import asyncio
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError

from workflows import chronicle, options, telling
from workflows.saga import Activity, O, R, Saga, StepFailed, begin
from workflows.ways_back import undo_what_was_begun

with workflow.unsafe.imports_passed_through():
    from activities.etcd_members import EtcdMemberActivities as Members
    from activities.janitor import JanitorActivities as Janitor
    from activities.replacement_record import RecordActivities as Record
    from replace_etcd.models.orders import ClosingOrder, Fence, Order, RemovalSettled
    from replace_etcd.models.phase import PAST_THE_REMOVAL, Phase
    from replace_etcd.models.request import Limits
    from replace_etcd.models.restoring import (
        ID_PREFIX,
        WORKFLOW_TYPE,
        ProtectOrder,
        Restored,
        RestoreRequest,
        RestoreResult,
        Search,
        TakenOver,
        TakeOverOrder,
        Verdict,
    )
    from replace_etcd.models.result import Outcome
    from replace_etcd.narration import invalid_input, restored_details, what_stays
    from replace_etcd.search_attributes import (
        FAILED_REPLICA,
        OUTCOME,
        PHASE,
        REQUESTED_BY,
        USER_CLUSTER,
    )

# What only a person may have put back: nobody can tell whether it lives, or it has ended and waits for the next start.
ON_A_WORD = (Verdict.UNKNOWN, Verdict.STUCK, Verdict.CONCLUDED)


@workflow.defn(name=WORKFLOW_TYPE)
class RestoreInterruptedReplacement:
    """Puts back what a replacement that was ended from outside has left, or lets it rest where it is safe."""

    def __init__(self) -> None:
        self._saga = Saga(self._show)
        self._records: list[Restored] = []

    @workflow.run
    async def run(self, submitted: Any = None) -> RestoreResult:
        """Run it; the argument is the JSON of a `RestoreRequest`, or nothing: then every record is looked at.

        A cancel does not stop it: what it carries out are compensations.
        """
        request = _accepted(submitted)
        work = asyncio.create_task(self._work(request))
        while not work.done():
            try:
                await workflow.wait([work])
            except asyncio.CancelledError:
                workflow.logger.warning("a cancel does not stop what puts things back")
        return work.result()

    async def _work(self, request: RestoreRequest) -> RestoreResult:
        name = request.user_cluster
        found = await _do(
            Janitor.find_interrupted_replacements, Search(user_cluster=name), name or "every record"
        )
        self._records = found.records
        if name is None:
            self._records = [await self._see_to(record) for record in found.records]
        elif found.records:
            self._label(found.records[0], request)
            self._records = [await self._restore(found.records[0], request)]
        self._show()
        for record in self._records:
            if record.outcome is Outcome.INTERRUPTED:
                await telling.hand_over(*chronicle.of_interrupted(record))
        return RestoreResult(records=self._records)

    async def _see_to(self, found: Restored) -> Restored:
        """In a sweep: each restoration is a run of its own, under an id that keeps a second one out."""
        if found.verdict is Verdict.STUCK:
            return await self._protect(found)
        if found.verdict is not Verdict.INTERRUPTED:
            return found
        wanted = f"{ID_PREFIX}{found.user_cluster}"
        try:
            await workflow.start_child_workflow(
                WORKFLOW_TYPE,
                RestoreRequest(user_cluster=found.user_cluster),
                id=wanted,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"put back what {found.workflow_id} has left",
            )
        except WorkflowAlreadyStartedError:
            return found.model_copy(update={"reason": f"{wanted} is at it already"})
        return found.model_copy(update={"reason": f"{wanted} is started"})

    async def _protect(self, found: Restored) -> Restored:
        """Nobody may take such a record; what is always safe is done, and one that fails does not stop the sweep."""
        order = ProtectOrder(user_cluster=found.user_cluster, why=found.reason)
        try:
            done = await _do(Janitor.protect_stuck_replacement, order, f"a budget for {found.user_cluster}")
        except ActivityError as error:
            return found.model_copy(update={"reason": f"{found.reason}; no budget: {error.cause}"})
        return found.model_copy(update={"reason": f"{found.reason}; {done.note}"})

    async def _restore(self, found: Restored, request: RestoreRequest) -> Restored:
        """Take the record over, then undo, or rest: by the furthest phase that its run has reached."""
        by_hand = _words(request) if found.verdict in ON_A_WORD else None
        if found.verdict is not Verdict.INTERRUPTED and by_hand is None:
            return found
        try:
            taken = await self._take_over(found, by_hand)
            reason = await self._put_back(found, taken, by_hand)
        except StepFailed as late:
            return self._ended(found, Verdict.LOST, f"{late.why}; this run changes nothing any more")
        workflow.upsert_search_attributes([OUTCOME.value_set(Outcome.INTERRUPTED.value)])
        return self._ended(found, found.verdict, reason, Outcome.INTERRUPTED)

    async def _take_over(self, found: Restored, by_hand: str | None) -> TakenOver:
        info = workflow.info()
        fence = Fence(
            workflow_id=info.workflow_id,
            first_run_id=info.first_execution_run_id,
            run_id=info.run_id,
            generation=0,
            phase=found.furthest,
        )
        order = TakeOverOrder(
            user_cluster=found.user_cluster, fence=fence, from_first_run=found.first_run_id, by_hand=by_hand
        )
        try:
            return await _do(Janitor.take_over_record, order, f"take over the record of {found.workflow_id}")
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == "LockLost":
                raise StepFailed("take_over_record", "LockLost", error.cause.message) from error
            raise

    async def _put_back(self, found: Restored, taken: TakenOver, by_hand: str | None) -> str:
        """The same ways back that a run takes itself; returns the reason that is written down."""
        saga = self._saga
        saga.bind(taken.pins, Limits(), heir_of=taken.heir_of)
        saga.enter(taken.furthest)
        undo_what_was_begun(saga, taken.backup)
        ended = f"{found.workflow_id} was ended from outside while {found.phase.value}"
        if by_hand:
            ended = f"{found.workflow_id} was taken over by hand while {found.phase.value}: {by_hand}"
        if found.reason:
            ended = f"{ended}; before that: {found.reason}"
        settled = await self._settled(taken)
        if not settled.may_be_sent:
            await saga.roll_back()
            return f"{ended}; {saga.how_much_is_back}"
        removed = settled.is_removed
        reason = f"{ended}; {what_stays(taken.furthest, removed=removed)}; the next start goes on from there"
        return await self._rest(reason, removed=removed)

    async def _settled(self, taken: TakenOver) -> RemovalSettled:
        """Whether a removal may have been sent: then there is no way back."""
        if taken.furthest not in PAST_THE_REMOVAL:
            return RemovalSettled(may_be_sent=False)
        settled = await self._saga.compensate(Members.settle_removal, Order, "was a removal sent?")
        past_it = taken.furthest is not Phase.REMOVING
        return settled.model_copy(update={"is_removed": past_it or settled.is_removed})

    async def _rest(self, reason: str, *, removed: bool) -> str:
        if more := await self._saga.rest_safely(removed=removed):
            reason = f"{reason}; {more}"
        await self._saga.compensate(
            Record.close_replacement_record,
            ClosingOrder,
            "write down why",
            outcome=Outcome.INTERRUPTED,
            reason=reason,
        )
        return reason

    def _ended(
        self, found: Restored, verdict: Verdict, reason: str, outcome: Outcome | None = None
    ) -> Restored:
        saga = self._saga
        return found.model_copy(
            update={
                "verdict": verdict,
                "outcome": outcome,
                "restored": saga.restored,
                "left": saga.left,
                "steps": saga.steps,
                "reason": reason,
            }
        )

    def _label(self, found: Restored, request: RestoreRequest) -> None:
        """Found in Temporal by the same attributes as the replacement that was interrupted."""
        workflow.upsert_search_attributes(
            [
                USER_CLUSTER.value_set(found.user_cluster),
                FAILED_REPLICA.value_set(found.replica),
                PHASE.value_set(found.phase.value),
                REQUESTED_BY.value_set(request.requested_by or ""),
            ]
        )

    def _show(self) -> None:
        """Phase and page follow what is done."""
        if self._saga.phase is not Phase.PREFLIGHT:
            workflow.upsert_search_attributes([PHASE.value_set(self._saga.phase.value)])
        workflow.set_current_details(restored_details(self._records, self._saga.steps, self._saga.current))


def _words(request: RestoreRequest) -> str | None:
    """Why the record may be taken, and who says so; None where nobody does."""
    if request.take_over is None:
        return None
    return f"{request.take_over} ({request.requested_by or 'nobody signed'})"


async def _do(activity: Activity[O, R], order: O, summary: str) -> R:
    """One of the janitor's own activities, which hold no record."""
    patience = options.JANITOR[activity.__name__]
    return await begin(activity, order, summary, patience, options.UNTIL_FINAL)


def _accepted(submitted: Any) -> RestoreRequest:
    try:
        return RestoreRequest.model_validate(submitted or {})
    except ValidationError as error:
        reason = invalid_input(error, RestoreRequest)
        raise ApplicationError(reason, type="InvalidInput", non_retryable=True) from None
