"""How one replacement, or a list of them, is shown: as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from temporalio.client import WorkflowExecution, WorkflowExecutionDescription

from replace_etcd.cli.views import step_line
from replace_etcd.models.plan import Plan, Verdict
from replace_etcd.models.result import Outcome, Progress, Step
from replace_etcd.replacements import Attempt, Ending
from replace_etcd.search_attributes import FAILED_REPLICA, OUTCOME, PHASE, REQUESTED_BY, USER_CLUSTER

WIDE = 300
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
    described: WorkflowExecutionDescription, seen: Progress | None, phase: str | None, *, worked_on: bool
) -> dict[str, Any]:
    """A run that goes on, as JSON."""
    progress = seen.model_dump(mode="json") if seen else {"phase": phase}
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
        "requested_by": attributes.get(REQUESTED_BY),
        "phase": attributes.get(PHASE),
        "outcome": attributes.get(OUTCOME),
        "started_at": item.start_time.isoformat(),
        "closed_at": item.close_time.isoformat() if item.close_time else None,
    }


def print_list(console: Console, items: Sequence[WorkflowExecution]) -> None:
    """The replacements that Temporal knows, newest first."""
    if not items:
        console.print(
            "Temporal knows no replacement; begin one with: replace-etcd start --user-cluster NAMESPACE"
        )
        return
    table = Table("WORKFLOW", "REPLICA", "STARTED", "STATE", box=None, pad_edge=False)
    if not console.is_terminal:  # whoever reads a file or a pipe wants whole words
        console.width = WIDE
    table.columns[0].no_wrap = True
    for item in items:
        attributes = item.typed_search_attributes
        state = attributes.get(OUTCOME) or attributes.get(PHASE) or "not begun"
        running = item.close_time is None
        table.add_row(
            item.id,
            attributes.get(FAILED_REPLICA) or "",
            f"{item.start_time.astimezone():%Y-%m-%d %H:%M:%S}",
            f"{state}{' (running)' if running else ''}",
        )
    console.print(table)


def print_head(console: Console, described: WorkflowExecutionDescription) -> None:
    """Which run this is, and how long it has been going on."""
    until = described.close_time or datetime.now(UTC)
    seconds = (until - described.start_time).total_seconds()
    state = "ran" if described.close_time else "has been running"
    console.print(f"{described.id} (run {described.run_id}) {state} for {seconds:.1f} s", markup=False)


def print_progress(console: Console, seen: Progress, attempt: Attempt | None) -> None:
    """The steps so far, and the one that runs."""
    console.print(f"phase: {seen.phase.value}", markup=False)
    print_steps(console, seen.steps)
    if seen.current:
        since = seen.current_since or datetime.now(UTC)
        seconds = (datetime.now(UTC) - since).total_seconds()
        again = f", attempt {attempt.number} after: {attempt.failure}" if attempt else ""
        console.print(f"now: {seen.current} for {seconds:.1f} s{again}", markup=False)
    if seen.waiting_for:
        console.print(f"waits for {seen.waiting_for}: {' or '.join(seen.choices)}", markup=False)


def print_ending(console: Console, ending: Ending) -> None:
    """The outcome with its reason, what was left, and for a plan the plan."""
    if ending.outcome is None:
        return
    good = ending.outcome in (Outcome.REPLACED, Outcome.PLANNED)
    reason = f": {escape(ending.reason)}" if ending.reason else ""
    console.print(f"[b {'green' if good else 'red'}]{ending.outcome.value}[/]{reason}", soft_wrap=True)
    result = ending.result
    if result is None:
        return
    if result.old_member_id and result.new_member_id:
        console.print(
            f"{result.replica}: member {result.old_member_id} is now {result.new_member_id}", markup=False
        )
    for left in result.left:
        console.print(f"left on purpose: {left}", markup=False)
    if result.plan and ending.outcome in (Outcome.PLANNED, Outcome.REFUSED):
        print_plan(console, result.plan)


def print_plan(console: Console, plan: Plan) -> None:
    """What would be done, and what speaks for and against it."""
    for check in plan.checks:
        way_out = f" ({check.way_out})" if check.way_out else ""
        verdict = f"[{COLOURS[check.verdict]}]{check.verdict.value:<6}[/]"
        console.print(f"{verdict} {escape(check.name)}: {escape(check.evidence + way_out)}", soft_wrap=True)
    for number, action in enumerate(plan.actions, 1):
        console.print(f"{number:>3}. {action}", markup=False, soft_wrap=True)


def print_steps(console: Console, steps: Sequence[Step]) -> None:
    """One line for each step that is done."""
    for step in steps:
        console.print(step_line(step), soft_wrap=True)
