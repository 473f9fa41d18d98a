"""Words for people: the page of the workflow in the Web UI, and sentences for errors; pure."""

from pydantic import BaseModel, ValidationError

from replace_etcd.models.plan import Pins, Plan, Verdict
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.restoring import Restored
from replace_etcd.models.result import Progress, Step

SIGNS = {Verdict.OK: "ok", Verdict.WARN: "**warn**", Verdict.REFUSE: "**refuse**"}

ANSWERS = {
    "approve": '`approve` with `{"approver": ..., "comment": ...}`: carry out this plan',
    "decline": '`decline` with `{"approver": ..., "comment": ...}`: change nothing',
    "resolve retry": '`resolve` with `{"choice": "retry", "by": ..., "reason": ...}`: look again, go on from there',
    "resolve abandon": '`resolve` with `{"choice": "abandon", "by": ..., "reason": ...}`: leave it safe, for a resume',
    "abort": '`abort` with `{"by": ..., "reason": ...}`: stop, and put everything back',
    "confirm_node_down": '`confirm_node_down` with `{"by": ..., "reason": ...}`: **only if the machine is off**: '
    "its pod is deleted by force, and starts on another node",
}


def details(request: ReplacementRequest, plan: Plan | None, progress: Progress, reason: str) -> str:
    """The current details of the workflow, as a Markdown checklist."""
    pins = plan.pins if plan else None
    replica = pins.replica if pins else request.failed_replica or "the failed replica"
    outcome = f": **{progress.outcome.value}**" if progress.outcome else ""
    lines = [f"### {replica} of {request.user_cluster}{outcome}", ""]
    if reason:
        lines += [reason, ""]
    if progress.waiting_for:
        lines += [f"Waiting until {progress.deadline:%Y-%m-%d %H:%M} UTC for one of:", ""]
        lines += [f"- {ANSWERS[choice]}" for choice in progress.choices] + [""]
    lines += [f"- [x] {step.summary or step.name}" for step in progress.steps if not step.error]
    lines += [f"- [ ] {step.summary or step.name}: {step.error}" for step in progress.steps if step.error]
    if progress.current:
        lines.append(f"- [ ] *{progress.current.replace('_', ' ')}* …")
    if plan is not None:
        lines += ["", "| check | verdict | evidence |", "|---|---|---|"]
        lines += [f"| {check.name} | {SIGNS[check.verdict]} | {check.evidence} |" for check in plan.checks]
    return "\n".join(lines)


def restored_details(records: list[Restored], steps: list[Step], current: str | None) -> str:
    """The current details of the janitor: every record, its verdict, and what is done about it."""
    if not records:
        return "No record of a replacement stands."
    lines = ["| user cluster | replica | phase | verdict | |", "|---|---|---|---|---|"]
    for one in records:
        verdict = f"{one.verdict.value}, **restored**" if one.outcome else one.verdict.value
        lines.append(f"| {one.user_cluster} | {one.replica} | {one.phase.value} | {verdict} | {one.reason} |")
    lines += [
        "",
        *(f"- [{' ' if step.error else 'x'}] {step.summary} {step.error}".rstrip() for step in steps),
    ]
    if current:
        lines.append(f"- [ ] *{current.replace('_', ' ')}* …")
    return "\n".join(lines)


def refusal(plan: Plan) -> str:
    """Every refusal with its way out."""
    refusals = [f"{check.name}: {check.evidence} ({check.way_out})" for check in plan.refusals]
    return f"preflight refuses: {'; '.join(refusals)}"


def dead_node(pins: Pins) -> str:
    """The choice where the node of the failed replica does not answer."""
    there = f"{pins.node}, the node of {pins.replica}, is not Ready (last sign of life {pins.node_lease or 'unknown'})"
    if pins.volume_can_move:
        away = "or make sure that the machine is off and confirm it, and the pod moves to another node"
    else:
        away = f"its volume {pins.claim} is bound to that node: without the node it cannot be replaced"
    return f"{there}; bring the node back and resolve with retry, {away}; or abort"


def invalid_input(error: ValidationError, kind: type[BaseModel] = ReplacementRequest) -> str:
    """Each field, what is wrong with it, and the way out."""
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in problem["loc"]) or "the input"
        given = "" if problem["type"] in ("missing", "extra_forbidden") else f" (given: {problem['input']!r})"
        problems.append(f"{field}: {problem['msg'].lower()}{given}")
    fields = kind.model_fields
    required = ", ".join(name for name, field in fields.items() if field.is_required())
    known = ", ".join(fields) + (f"; {required} is required" if required else "")
    return f"invalid input: {'; '.join(problems)}. Fields are: {known}"
