"""Words for people: the page of the workflow in the Web UI, and sentences for errors; pure."""

import re

from pydantic import BaseModel, ValidationError

from replace_etcd.answers import ANSWERS, command, temporal_command
from replace_etcd.models.phase import REJOINED, Phase
from replace_etcd.models.plan import Check, Pins, Plan, Verdict
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.restoring import Restored
from replace_etcd.models.result import Progress, Step

SIGNS = {Verdict.OK: "ok", Verdict.WARN: "**warn**", Verdict.REFUSE: "**refuse**"}

WAITS = {
    "approval": "Waits for approval",
    "resolve": "Holds: somebody has to decide",
    "node": "Waits for its node",
}


def details(workflow_id: str, request: ReplacementRequest, plan: Plan | None, progress: Progress) -> str:
    """The current details of the workflow: what is asked of people first, then the steps, then the plan."""
    pins = plan.pins if plan else None
    replica = pins.replica if pins else request.failed_replica or "the failed replica"
    outcome = f": {progress.outcome.value.replace('_', ' ')}" if progress.outcome else ""
    lines = [f"### {replica} of {request.user_cluster}{outcome}", ""]
    if progress.waiting_for:
        lines += _question(workflow_id, progress)
    elif progress.reason:
        lines += [_literally(progress.reason), ""]
    lines += _checklist(progress)
    if plan is not None:
        lines += _plan(plan, replica)
    return "\n".join(lines)


def _literally(text: str) -> str:
    """Flags and objects as code: the Web UI would otherwise print `--` as a dash and bend the quotes."""
    return re.sub(r"--\w[\w-]*(?:=[\w.:/-]+)?|\{.*\}", lambda found: f"`{found[0]}`", text)


def _question(workflow_id: str, progress: Progress) -> list[str]:
    """Each choice with the command that makes it."""
    waits = WAITS.get(progress.waiting_for or "", f"Waits for {progress.waiting_for}")
    lines = [f"**{waits}** (until {progress.deadline:%Y-%m-%d %H:%M} UTC).", ""]
    if progress.reason:
        lines += [f"> {_literally(progress.reason)}", ""]
    for choice in progress.choices:
        lines += [f"**{choice}**: {ANSWERS[choice].meaning}", "", "```"]
        lines += [command(choice, workflow_id), temporal_command(choice, workflow_id), "```", ""]
    return lines


def _checklist(progress: Progress) -> list[str]:
    """The Web UI draws no boxes for `[x]`, so the signs are characters."""
    lines = ["#### Steps", ""]
    for step in progress.steps:
        tries = f" ({step.attempts} attempts)" if step.attempts > 1 else ""
        said = step.error or step.note
        note = f": {said}" if said and said != step.summary else ""
        lines.append(
            f"- {'✘' if step.error else '✔'} {_literally(f'{step.summary or step.name}{note}{tries}')}"
        )
    if progress.current:
        lines.append(f"- … **{progress.current.replace('_', ' ')}**")
    return [*lines, ""]


def _plan(plan: Plan, replica: str) -> list[str]:
    lines = []
    if plan.actions:
        lines += [f"#### Plan for {replica}", ""]
        lines += [f"{number}. {_literally(action)}" for number, action in enumerate(plan.actions, 1)] + [""]
    if evicted := [f"{pod.namespace}/{pod.name}" for pod in plan.drained if pod.evict]:
        lines += [f"The drain evicts: {', '.join(evicted)}", ""]
    return [*lines, "#### Verdicts", "", *_verdicts(plan.checks)]


def diagnosis_details(checks: list[Check]) -> str:
    """The current details of a diagnosis."""
    return "\n".join(_verdicts(checks))


def _verdicts(checks: list[Check]) -> list[str]:
    """A table, the worst first."""
    lines = ["| verdict | check | evidence |", "|---|---|---|"]
    worst_first = sorted(checks, key=lambda check: list(SIGNS).index(check.verdict), reverse=True)
    for check in worst_first:
        way_out = f" ({check.way_out})" if check.way_out else ""
        cells = (SIGNS[check.verdict], _literally(check.name), _literally(f"{check.evidence}{way_out}"))
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return lines


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
        *(f"- {'✘' if step.error else '✔'} {step.summary} {step.error}".rstrip() for step in steps),
    ]
    if current:
        lines.append(f"- … **{current.replace('_', ' ')}**")
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


def what_stays(phase: Phase, *, removed: bool) -> str:
    """How things rest where a replacement stops in this phase, and nobody goes on; `removed` is the survivors' word."""
    if phase in REJOINED:
        stays = "the new member is a voter; what of flag and updateStrategy is not back yet stays as it is"
    elif not removed:
        stays = (
            "nobody can tell whether the member is removed: the cordon, the flag existing and OnDelete stay"
        )
    else:
        stays = "the member is removed: the flag existing and OnDelete stay, harmless for members with data"
    return f"{stays}; the PodDisruptionBudget is back"


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
