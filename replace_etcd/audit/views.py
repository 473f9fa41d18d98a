"""Replacements as the audit tells them: views of events, made anew whenever somebody asks. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from replace_etcd.audit.events import ANSWERS, AuditEvent, EventKind
from replace_etcd.models import Input, Message
from replace_etcd.models.plan import Member, Plan
from replace_etcd.models.result import Outcome, ReplacementResult, Step

ENDS = (EventKind.FINISHED, EventKind.INTERRUPTED)


class Filters(Input):
    """Which replacements are asked for; times are of the start. Plans (dry runs) only where they are asked for."""

    user_cluster: str | None = None
    replica: str | None = None
    incident: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None
    plans: bool = False


class ReplacementView(Message):
    """One replacement in a list; without `outcome` no end of it was recorded: it runs, or waits for its end.

    `waiting_for` is what it last asked people for, where nobody has answered as far as the audit knows.
    """

    run_id: str
    workflow_id: str
    user_cluster: str = ""
    replica: str | None = None
    incident: str | None = None
    requested_by: str | None = None
    approved_by: str | None = None
    dry_run: bool = False
    started_at: datetime
    finished_at: datetime | None = None
    outcome: Outcome | None = None
    reason: str = ""
    waiting_for: str | None = None
    steps: int = 0


class Page(Message):
    """A page of a list, newest first; `next_cursor` asks for the next one, None where this is the last."""

    items: list[ReplacementView]
    next_cursor: str | None = None


class StepView(Step):
    """A step with what it saw; `by` names the run that carried it out where that was another one."""

    evidence: dict[str, Any] = {}
    phase: str = ""
    by: str = ""


class Story(Message):
    """The full story of one replacement: its view, what was planned, each step, how it ended, and the raw events."""

    replacement: ReplacementView
    request: dict[str, Any] = {}
    versions: dict[str, str] = {}
    plan: Plan | None = None
    steps: list[StepView] = []
    result: ReplacementResult | None = None
    members_before: list[Member] = []
    members_after: list[Member] = []
    events: list[AuditEvent] = []


def view_of(events: Sequence[AuditEvent]) -> ReplacementView:
    """The view of one run; steps need not be among the events."""
    first = events[0]
    started = _last(events, EventKind.STARTED) or _last(events, EventKind.REQUESTED)
    approved = _last(events, EventKind.APPROVED)
    end = _last(events, *ENDS)
    request = _request(events)
    return ReplacementView(
        run_id=first.run_id,
        workflow_id=first.workflow_id,
        user_cluster=_known(events, "user_cluster") or "",
        replica=_known(events, "replica"),
        incident=_known(events, "incident"),
        requested_by=request.get("requested_by"),
        approved_by=approved.data.get("by") if approved else None,
        dry_run=bool(request.get("dry_run")),
        started_at=started.at if started else first.at,
        finished_at=end.at if end else None,
        outcome=end.outcome if end else None,
        reason=end.data.get("reason", "") if end else "",
        waiting_for=None if end else _waiting_for(events),
        steps=sum(event.kind is EventKind.STEP for event in events),
    )


def story_of(events: Sequence[AuditEvent]) -> Story:
    """Everything that is known of one run."""
    started, planned = _last(events, EventKind.STARTED), _last(events, EventKind.PLANNED)
    finished, end = _last(events, EventKind.FINISHED), _last(events, *ENDS)
    first_plan = next((event for event in events if event.kind is EventKind.PLANNED), None)
    result = finished.data.get("result") if finished else None
    steps = [StepView.model_validate(event.data) for event in events if event.kind is EventKind.STEP]
    return Story(
        replacement=view_of(events),
        request=_request(events),
        versions=started.data.get("versions", {}) if started else {},
        plan=_plan(planned),
        steps=sorted(steps, key=lambda step: step.started_at),
        result=ReplacementResult.model_validate(result) if result else None,
        members_before=first.members if (first := _plan(first_plan)) else [],
        members_after=_members_after(steps, end),
        events=list(events),
    )


def _request(events: Sequence[AuditEvent]) -> dict[str, Any]:
    """As the run has read it; before a worker has begun, as the API has sent it."""
    asked = _last(events, EventKind.STARTED) or _last(events, EventKind.REQUESTED)
    request: dict[str, Any] = asked.data.get("request", {}) if asked else {}
    return request


def _plan(planned: AuditEvent | None) -> Plan | None:
    return Plan.model_validate(planned.data["plan"]) if planned and planned.data.get("plan") else None


def _members_after(steps: Sequence[StepView], end: AuditEvent | None) -> list[Member]:
    """As the last step that listed them saw them."""
    listed = (end.data.get("result") or {}).get("members") if end else None
    for step in reversed(steps):
        listed = listed or step.evidence.get("members")
    return [Member.model_validate(member) for member in listed or []]


def _last(events: Sequence[AuditEvent], *kinds: EventKind) -> AuditEvent | None:
    return next((event for event in reversed(events) if event.kind in kinds), None)


def _known(events: Sequence[AuditEvent], field: str) -> str | None:
    values: list[str | None] = [getattr(event, field) for event in reversed(events)]
    return next((value for value in values if value), None)


def _waiting_for(events: Sequence[AuditEvent]) -> str | None:
    last = _last(events, EventKind.ASKED, *ANSWERS)
    return last.data.get("waiting_for") if last and last.kind is EventKind.ASKED else None
