"""How one replacement, or a list of them, is shown: as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from temporalio.client import WorkflowExecution, WorkflowExecutionDescription, WorkflowExecutionStatus

from replace_etcd.cli.views import question, said, step_line
from replace_etcd.models.plan import Check, Plan, Verdict
from replace_etcd.models.result import Outcome, Progress, Step
from replace_etcd.replacements import Attempt, Ending
from replace_etcd.search_attributes import (
    FAILED_REPLICA,
    INCIDENT,
    OUTCOME,
    PHASE,
    REQUESTED_BY,
    USER_CLUSTER,
)

WIDE = 300
ENDED_FROM_OUTSIDE = (WorkflowExecutionStatus.TERMINATED, WorkflowExecutionStatus.TIMED_OUT)
COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.REFUSE: "red"}


def ended(workflow_id: str, run_id: str | None, ending: Ending) -> dict[str, Any]:
    """A closed run as JSON: the result, its ids, and the reason."""
    result = ending.result.model_dump(mode="json") if ending.result else {}
    return {
        "workflow_id": workflow_id,
        "run_id": run_id,
        "running": False,
        **result,
        "outcome": ending.outcome,
        "reason": ending.reason,
    }


def going_on(
    described: WorkflowExecutionDescription,
    seen: Progress | None,
    phase: str | None,
    attempt: Attempt | None,
    *,
    worked_on: bool,
) -> dict[str, Any]:
    """A run that goes on, as JSON."""
    progress: dict[str, Any] = seen.model_dump(mode="json") if seen else {"phase": phase}
    if attempt is not None:
        heard = attempt.heard_at.isoformat() if attempt.heard_at else None
        progress["attempt"] = {**asdict(attempt), "heard_at": heard}
    return {
        "workflow_id": described.id,
        "run_id": described.run_id,
        "running": True,
        "worker": worked_on,
        "started_at": described.start_time.isoformat(),
        **progress,
    }


def listed(item: WorkflowExecution) -> dict[str, Any]:
    """One line of the list, as JSON."""
    attributes = item.typed_search_attributes
    return {
        "workflow_id": item.id,
        "run_id": item.run_id,
        "status": item.status.name.lower() if item.status else None,
        "user_cluster": attributes.get(USER_CLUSTER),
        "replica": attributes.get(FAILED_REPLICA),
        "incident": attributes.get(INCIDENT),
        "requested_by": attributes.get(REQUESTED_BY),
        "phase": attributes.get(PHASE),
        "outcome": "interrupted" if item.status in ENDED_FROM_OUTSIDE else attributes.get(OUTCOME),
        "started_at": item.start_time.isoformat(),
        "closed_at": item.close_time.isoformat() if item.close_time else None,
    }


def print_list(console: Console, items: Sequence[WorkflowExecution], *, filtered: bool = False) -> None:
    """The replacements that Temporal knows, newest first."""
    if not items:
        way_out = "list all of them with: replace-etcd list" if filtered else "begin with: replace-etcd plan"
        console.print(f"Temporal knows no {'such ' if filtered else ''}replacement; {way_out}", markup=False)
        return
    table = Table("WORKFLOW", "REPLICA", "INCIDENT", "STARTED", "STATE", box=None, pad_edge=False)
    for item in items:
        attributes = item.typed_search_attributes
        table.add_row(
            Text(item.id),
            Text(attributes.get(FAILED_REPLICA) or ""),
            Text(attributes.get(INCIDENT) or ""),
            f"{item.start_time.astimezone():%Y-%m-%d %H:%M:%S}",
            _state(item),
        )
    table.columns[0].no_wrap = True
    if not console.is_terminal:  # whoever reads a file or a pipe wants whole words
        console.width = WIDE
    console.print(table)


def _state(item: WorkflowExecution) -> str:
    attributes = item.typed_search_attributes
    if item.status in ENDED_FROM_OUTSIDE:
        return Outcome.INTERRUPTED.value
    state = attributes.get(OUTCOME) or attributes.get(PHASE) or "not begun"
    return f"{state} (running)" if item.close_time is None else state


def print_head(console: Console, described: WorkflowExecutionDescription) -> None:
    """Which run this is, and how long it has been going on."""
    until = described.close_time or datetime.now(UTC)
    seconds = (until - described.start_time).total_seconds()
    state = "ran" if described.close_time else "has been running"
    console.print(f"{described.id} (run {described.run_id}) {state} for {seconds:.1f} s", markup=False)


def print_progress(console: Console, workflow_id: str, seen: Progress, attempt: Attempt | None) -> None:
    """The steps so far, the one that runs, and what it waits for."""
    console.print(f"phase: {seen.phase.value}", markup=False)
    print_steps(console, seen.steps)
    if seen.current:
        since = seen.current_since or datetime.now(UTC)
        seconds = (datetime.now(UTC) - since).total_seconds()
        console.print(f"now: {seen.current} for {seconds:.1f} s{said(attempt)}", soft_wrap=True)
    for line in question(workflow_id, seen):
        console.print(line, soft_wrap=True)


def print_ending(console: Console, ending: Ending) -> None:
    """The outcome with its reason, what was left, and for a plan the plan."""
    if ending.outcome is None:
        return
    result = ending.result
    if result and result.plan and ending.outcome in (Outcome.PLANNED, Outcome.REFUSED):
        print_plan(console, result.plan)
    good = ending.outcome in (Outcome.REPLACED, Outcome.PLANNED)
    reason = f": {escape(ending.reason)}" if ending.reason else ""
    console.print(f"[b {'green' if good else 'red'}]{ending.outcome.value}[/]{reason}", soft_wrap=True)
    if result is None:
        return
    if result.old_member_id and result.new_member_id:
        console.print(
            f"{result.replica}: member {result.old_member_id} is now {result.new_member_id}", markup=False
        )
    for left in result.left:
        console.print(f"left on purpose: {left}", markup=False)


def print_plan(console: Console, plan: Plan) -> None:
    """What speaks for and against it, what would be done, and which pods would have to go."""
    print_checks(console, plan.checks)
    for number, action in enumerate(plan.actions, 1):
        console.print(f"{number:>3}. {action}", markup=False, soft_wrap=True)
    if plan.actions:
        console.print()
    if plan.drained:
        table = Table("THE DRAIN", "POD", "", box=None, pad_edge=False)
        for pod in sorted(plan.drained, key=lambda pod: (not pod.evict, pod.namespace, pod.name)):
            table.add_row(
                "evicts" if pod.evict else "leaves", Text(f"{pod.namespace}/{pod.name}"), Text(pod.reason)
            )
        console.print(table)
        console.print()


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """A table of verdicts; what refuses comes last, where the eye is."""
    order = [Verdict.OK, Verdict.WARN, Verdict.REFUSE]
    rows = sorted(checks, key=lambda check: order.index(check.verdict))
    if not console.is_terminal:  # for a file or grep: one line each
        width = max((len(check.name) for check in rows), default=0)
        for check in rows:
            line = f"{check.verdict.value:<7} {check.name:<{width}}  {_evidence(check)}"
            console.print(line, markup=False, soft_wrap=True)
    else:
        table = Table("VERDICT", "CHECK", "EVIDENCE", box=None, pad_edge=False)
        for check in rows:
            table.add_row(
                Text(check.verdict.value, style=COLOURS[check.verdict]), check.name, _evidence(check)
            )
        table.columns[0].no_wrap = True
        console.print(table)
    console.print()


def _evidence(check: Check) -> Text:
    evidence = Text(check.evidence)
    if check.way_out:
        evidence.append(f" ({check.way_out})", style="bold" if check.verdict is Verdict.REFUSE else "dim")
    return evidence


def print_steps(console: Console, steps: Sequence[Step]) -> None:
    """One line for each step that is done."""
    for step in steps:
        console.print(step_line(step), soft_wrap=True)
