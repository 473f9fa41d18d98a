"""The demo's report, and the verdict on it: pure, so that the judge itself is tested with good and bad stories."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from lab.models import LabReport
from replace_etcd.models.result import Outcome, Step

VOTERS = 3


class ReportedMember(BaseModel):
    """One line of etcd's member list at the end."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    name: str
    id: str
    learner: bool
    started: bool


class ReportedStep(BaseModel):
    """One step of the workflow."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    name: str
    started_at: datetime
    finished_at: datetime
    attempts: int


class DemoReport(BaseModel):
    """What `demo --json` writes; other programs read it, so fields are only ever added."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome | None
    workflow_id: str
    run_id: str
    kubernetes: str
    etcd: str
    duration_seconds: float
    acknowledged_writes: int
    lost_writes: int
    longest_write_gap_seconds: float
    survivor_restarts: int
    seconds_without_pdb: float
    pdb_restored: bool
    initial_cluster_state: str
    update_strategy: str
    node_schedulable: bool
    members: list[ReportedMember]
    steps: list[ReportedStep]


def build(
    *,
    outcome: Outcome | None,
    workflow_id: str,
    run_id: str,
    seconds: float,
    steps: list[Step],
    lab: LabReport,
) -> DemoReport:
    """Put together what Temporal and the lab say."""
    return DemoReport(
        outcome=outcome,
        workflow_id=workflow_id,
        run_id=run_id,
        kubernetes=lab.kubernetes,
        etcd=lab.etcd,
        duration_seconds=round(seconds, 3),
        acknowledged_writes=lab.traffic.acknowledged,
        lost_writes=lab.judgement.lost_writes,
        longest_write_gap_seconds=lab.traffic.longest_gap_seconds,
        survivor_restarts=lab.judgement.survivor_restarts,
        seconds_without_pdb=lab.judgement.seconds_without_pdb,
        pdb_restored=lab.pdb_restored,
        initial_cluster_state=lab.after.initial_cluster_state,
        update_strategy=str(lab.after.update_strategy.get("type", "")),
        node_schedulable=not lab.after.unschedulable_nodes,
        members=[ReportedMember.model_validate(member) for member in lab.members],
        steps=[ReportedStep.model_validate(step) for step in steps],
    )


def failures(outcome: Outcome | None, lab: LabReport) -> list[str]:
    """Everything that does not hold, a sentence each; the demo succeeds only if there is nothing."""
    judgement, before, after = lab.judgement, lab.before, lab.after
    unread = ", ".join(judgement.unread_members)
    restarted = ", ".join(judgement.restarted)
    rules = (
        (
            outcome is Outcome.REPLACED,
            f"the outcome is {outcome.value if outcome else 'unknown'}, not replaced",
        ),
        (lab.traffic.acknowledged > 0, "no write was acknowledged, so that nothing can be said about losses"),
        (judgement.lost_writes == 0, f"{judgement.lost_writes} acknowledged writes are lost"),
        (not judgement.unread_members, f"the writes could not be read back from {unread}"),
        (judgement.survivor_restarts == 0, f"healthy members were restarted: {restarted}"),
        (_whole(lab), f"there are not {VOTERS} started, healthy voters"),
        (lab.pdb_restored, "the PodDisruptionBudget is not as it was"),
        (
            after.initial_cluster_state == before.initial_cluster_state,
            f"--initial-cluster-state is {after.initial_cluster_state}, not {before.initial_cluster_state}",
        ),
        (after.template_hash == before.template_hash, "the pod template of the StatefulSet is not as it was"),
        (
            lab.strategy_restored,
            f"the update strategy is {after.update_strategy}, not {before.update_strategy}",
        ),
        (
            lab.nodes_restored,
            f"cordoned nodes: {after.unschedulable_nodes}, before: {before.unschedulable_nodes}",
        ),
    )
    return [sentence for holds, sentence in rules if not holds]


def _whole(lab: LabReport) -> bool:
    voters = [m for m in lab.members if m.started and m.healthy and not m.learner]
    return len(voters) == len(lab.members) == VOTERS


def lines(report: DemoReport, lab: LabReport) -> list[tuple[str, str]]:
    """The report for people: what, and how it is."""
    restarts = report.survivor_restarts
    return [
        (
            "outcome",
            f"{report.outcome.value if report.outcome else 'unknown'} in {report.duration_seconds:.1f} s",
        ),
        (
            "writes",
            f"{report.acknowledged_writes} acknowledged, {report.lost_writes} lost,"
            f" longest gap {report.longest_write_gap_seconds:.2f} s",
        ),
        ("healthy members", f"{restarts or 'no'} restart{'' if restarts == 1 else 's'}"),
        ("members", ", ".join(_member(member) for member in report.members)),
        (
            "PodDisruptionBudget",
            f"{_as_before(report.pdb_restored)}, absent for {report.seconds_without_pdb:.1f} s",
        ),
        (
            "flag",
            f"--initial-cluster-state={report.initial_cluster_state},"
            f" {_as_before(lab.after.template_hash == lab.before.template_hash)}",
        ),
        ("update strategy", f"{report.update_strategy}, {_as_before(lab.strategy_restored)}"),
        (
            "nodes",
            f"{'all' if report.node_schedulable else 'not all'} schedulable, {_as_before(lab.nodes_restored)}",
        ),
    ]


def _member(member: ReportedMember) -> str:
    state = "" if member.started else " (not started)"
    return f"{member.name or 'unnamed'} {member.id}{' (learner)' if member.learner else ''}{state}"


def _as_before(restored: bool) -> str:
    return "as before" if restored else "NOT as before"
