"""Fills the audit from histories that were exported from Temporal, for runs from before the store.

It reads what `temporal workflow show -o json` writes. What the workflow would have told is found in its history: the
input, each activity with its times and its result, the answers that were taken, and the end.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import ParseError
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from replace_etcd.audit.events import AuditEvent, EventKind
from replace_etcd.models.orders import Done
from replace_etcd.models.result import Outcome

WORKFLOW = "ReplaceEtcdReplica"
NO_STEPS = ("append_audit_events", "send_notification", "request_cancellation", "stand_guard")
ANSWERS = {
    "approve": EventKind.APPROVED,
    "decline": EventKind.DECLINED,
    "resolve": EventKind.RESOLVED,
    "confirm_node_down": EventKind.NODE_CONFIRMED_DOWN,
    "abort": EventKind.ABORTED,
}


class NoHistory(Exception):
    """What was given is no history of a replacement; the text says what it is, and the way out."""


def events_of(text: str) -> list[AuditEvent]:
    """The audit of one exported history."""
    try:
        history = WorkflowHistory.from_json("", text)
    except (ParseError, ValueError, KeyError, TypeError) as error:
        raise NoHistory(
            f"is no exported history ({str(error).splitlines()[0]}): write one with"
            " `temporal workflow show --workflow-id ID --run-id RUN -o json`"
        ) from None
    events = list(history.events)
    if not events or not events[0].HasField("workflow_execution_started_event_attributes"):
        raise NoHistory("is a history without its beginning: export it whole")
    kind = events[0].workflow_execution_started_event_attributes.workflow_type.name
    if kind != WORKFLOW:
        raise NoHistory(f"is the history of a {kind}: only those of {WORKFLOW} are replacements")
    try:
        return list(_Reading(events).told())
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise NoHistory(f"is a history of another form ({problem['loc']}: {problem['msg']})") from None


class _Reading:
    """One history on its way through."""

    def __init__(self, events: list[HistoryEvent]) -> None:
        self._events = events
        started = events[0].workflow_execution_started_event_attributes
        asked = _decoded(started.input.payloads)
        self._request: dict[str, Any] = asked if isinstance(asked, dict) else {}
        self._run_id = _run_id(events)
        self._workflow_id = started.workflow_id or f"replace-etcd.{self._request.get('user_cluster', '')}"
        self._replica = self._request.get("failed_replica")
        self._scheduled: dict[int, HistoryEvent] = {}
        self._began: dict[int, HistoryEvent] = {}

    def told(self) -> Iterator[AuditEvent]:
        """Event by event."""
        for event in self._events:
            name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()
            tell = getattr(self, f"_{name}", None)
            if tell is not None:
                yield from tell(event, getattr(event, event.WhichOneof("attributes") or ""))

    def _workflow_execution_started(self, event: HistoryEvent, _: Any) -> Iterator[AuditEvent]:
        yield self._event(event, EventKind.STARTED, request=self._request, versions={}, source="history")

    def _workflow_execution_update_accepted(self, event: HistoryEvent, said: Any) -> Iterator[AuditEvent]:
        asked = said.accepted_request.input
        word = dict(_decoded(asked.args.payloads) or {})
        by = word.pop("approver", word.pop("by", None))
        if asked.name in ANSWERS:
            yield self._event(event, ANSWERS[asked.name], by=by, **word)

    def _workflow_execution_cancel_requested(self, event: HistoryEvent, _: Any) -> Iterator[AuditEvent]:
        yield self._event(event, EventKind.STOP_REQUESTED, by="a cancel of the workflow")

    def _activity_task_scheduled(self, event: HistoryEvent, _: Any) -> Iterator[AuditEvent]:
        self._scheduled[event.event_id] = event
        return iter(())

    def _activity_task_started(self, event: HistoryEvent, began: Any) -> Iterator[AuditEvent]:
        self._began[began.scheduled_event_id] = event
        return iter(())

    def _activity_task_completed(self, event: HistoryEvent, done: Any) -> Iterator[AuditEvent]:
        result = _decoded(done.result.payloads) or {}
        yield from self._step(event, done.scheduled_event_id, result, "")
        if isinstance(result, dict) and (plan := result.get("plan")):
            self._replica = (plan.get("pins") or {}).get("replica") or self._replica
            yield self._event(event, EventKind.PLANNED, plan=plan)

    def _activity_task_failed(self, event: HistoryEvent, ended: Any) -> Iterator[AuditEvent]:
        yield from self._step(event, ended.scheduled_event_id, {}, ended.failure.message or "failed")

    def _activity_task_timed_out(self, event: HistoryEvent, ended: Any) -> Iterator[AuditEvent]:
        yield from self._step(event, ended.scheduled_event_id, {}, ended.failure.message or "timed out")

    def _activity_task_canceled(self, event: HistoryEvent, ended: Any) -> Iterator[AuditEvent]:
        yield from self._step(event, ended.scheduled_event_id, {}, "stopped")

    def _workflow_execution_completed(self, event: HistoryEvent, ended: Any) -> Iterator[AuditEvent]:
        yield self._finished(event, _decoded(ended.result.payloads) or {})

    def _workflow_execution_failed(self, event: HistoryEvent, ended: Any) -> Iterator[AuditEvent]:
        details = ended.failure.application_failure_info.details.payloads
        result = _decoded(details)
        given = result if isinstance(result, dict) else {}
        yield self._finished(event, given, ended.failure.message)

    def _workflow_execution_canceled(self, event: HistoryEvent, _: Any) -> Iterator[AuditEvent]:
        yield self._event(event, EventKind.FINISHED, Outcome.CANCELLED, reason="stopped before the removal")

    def _workflow_execution_terminated(self, event: HistoryEvent, ended: Any) -> Iterator[AuditEvent]:
        reason = f"ended from outside: {ended.reason or 'no reason was given'}"
        yield self._event(event, EventKind.INTERRUPTED, Outcome.INTERRUPTED, reason=reason)

    def _workflow_execution_timed_out(self, event: HistoryEvent, _: Any) -> Iterator[AuditEvent]:
        reason = "ended from outside: the time limit that it was started with was over"
        yield self._event(event, EventKind.INTERRUPTED, Outcome.INTERRUPTED, reason=reason)

    def _finished(self, event: HistoryEvent, result: dict[str, Any], reason: str = "") -> AuditEvent:
        outcome = Outcome(result["outcome"]) if "outcome" in result else None
        said = {key: value for key, value in result.items() if key not in ("steps", "plan")}
        data = {"reason": result.get("reason") or reason} | ({"result": said} if outcome else {})
        return self._event(event, EventKind.FINISHED, outcome, **data)

    def _step(self, event: HistoryEvent, scheduled_id: int, result: Any, error: str) -> Iterator[AuditEvent]:
        scheduled = self._scheduled[scheduled_id]
        name = scheduled.activity_task_scheduled_event_attributes.activity_type.name
        if name in NO_STEPS or not isinstance(result, dict):
            return
        began = self._began.get(scheduled_id)
        attempts = began.activity_task_started_event_attributes.attempt if began else 0
        summary = scheduled.user_metadata.summary
        yield self._event(
            event,
            EventKind.STEP,
            key=f"history:{scheduled_id:04}",
            name=name,
            summary=_decoded([summary]) if summary.data else "",
            started_at=_moment(scheduled).isoformat(),
            finished_at=_moment(event).isoformat(),
            attempts=attempts,
            note=result.get("note", ""),
            error=error,
            evidence={key: value for key, value in result.items() if key not in {*Done.model_fields, "plan"}},
        )

    def _event(
        self,
        event: HistoryEvent,
        kind: EventKind,
        outcome: Outcome | None = None,
        key: str | None = None,
        **data: Any,
    ) -> AuditEvent:
        return AuditEvent(
            run_id=self._run_id,
            workflow_id=self._workflow_id,
            key=key or f"history:{event.event_id:04}:{kind.value}",
            kind=kind,
            at=_moment(event),
            user_cluster=self._request.get("user_cluster"),
            replica=self._replica,
            incident=self._request.get("incident"),
            outcome=outcome,
            data=data,
        )


def _run_id(events: list[HistoryEvent]) -> str:
    """A reset copies the beginning of another run: the id of the new one stands where it begins."""
    run_id = events[0].workflow_execution_started_event_attributes.original_execution_run_id
    for event in events:
        failed = event.workflow_task_failed_event_attributes
        if failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
            run_id = failed.new_run_id or run_id
    if not run_id:
        raise NoHistory("does not name its run: export it with a newer `temporal`")
    return run_id


def _moment(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(UTC)


def _decoded(payloads: Any) -> Any:
    first: Payload | None = next(iter(payloads), None)
    if first is None or not first.data:
        return None
    try:
        return json.loads(first.data)
    except ValueError:
        raise NoHistory("has payloads that are no JSON: they are encrypted; decode them first") from None
