"""The demo's judge: a good story passes, and every single defect fails, by its name."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lab.models import Judgement, LabReport, Member, ObjectsView, TrafficReport
from replace_etcd.cli.demo import play, report
from replace_etcd.models.result import Outcome
from replace_etcd.replacements import Ending

OBJECTS = ObjectsView(
    pdb_spec={"minAvailable": 2},
    initial_cluster_state="new",
    update_strategy={"type": "RollingUpdate"},
    template_hash="abc",
    unschedulable_nodes=[],
)
MEMBERS = [
    Member(id=f"{number}a", name=f"kube-etcd-{number}", learner=False, started=True, healthy=True)
    for number in range(3)
]
GOOD = LabReport(
    kubernetes="simulated",
    etcd="3.5.1",
    members=MEMBERS,
    failed="kube-etcd-1",
    traffic=TrafficReport(
        acknowledged=1000, failed=3, unknown=1, longest_gap_seconds=0.5, longest_gap_at="", seconds=30.0
    ),
    judgement=Judgement(
        lost_writes=0,
        lost_by_member={},
        unread_members=[],
        survivor_restarts=0,
        restarted=[],
        seconds_without_pdb=12.0,
    ),
    before=OBJECTS,
    after=OBJECTS,
    pdb_restored=True,
    strategy_restored=True,
    nodes_restored=True,
)


def with_(**changes: Any) -> LabReport:
    return GOOD.model_copy(update=changes)


def judged(**changes: Any) -> LabReport:
    return with_(judgement=GOOD.judgement.model_copy(update=changes))


def after(**changes: Any) -> LabReport:
    return with_(after=OBJECTS.model_copy(update=changes))


def member(**changes: Any) -> LabReport:
    return with_(members=[MEMBERS[0], MEMBERS[1].model_copy(update=changes), MEMBERS[2]])


def test_a_good_story_passes() -> None:
    assert report.failures(Outcome.REPLACED, GOOD) == []


@pytest.mark.parametrize(
    "outcome", [None, *(outcome for outcome in Outcome if outcome is not Outcome.REPLACED)]
)
def test_only_replaced_is_good(outcome: Outcome | None) -> None:
    (failure,) = report.failures(outcome, GOOD)
    assert failure.startswith("the outcome is ")


@pytest.mark.parametrize(
    ("story", "failure"),
    [
        (with_(traffic=GOOD.traffic.model_copy(update={"acknowledged": 0})), "no write was acknowledged"),
        (judged(lost_writes=1), "1 acknowledged writes are lost"),
        (judged(unread_members=["kube-etcd-2"]), "could not be read back from kube-etcd-2"),
        (
            judged(survivor_restarts=1, restarted=["kube-etcd-0"]),
            "healthy members were restarted: kube-etcd-0",
        ),
        (with_(members=MEMBERS[:2]), "3 started, healthy voters"),
        (with_(members=[*MEMBERS, MEMBERS[0]]), "3 started, healthy voters"),
        (member(learner=True), "3 started, healthy voters"),
        (member(started=False), "3 started, healthy voters"),
        (member(healthy=False), "3 started, healthy voters"),
        (with_(pdb_restored=False), "PodDisruptionBudget"),
        (after(initial_cluster_state="existing"), "--initial-cluster-state is existing, not new"),
        (after(template_hash="other"), "pod template"),
        (with_(strategy_restored=False), "update strategy"),
        (with_(nodes_restored=False), "cordoned nodes"),
    ],
)
def test_a_single_defect_fails(story: LabReport, failure: str) -> None:
    (found,) = report.failures(Outcome.REPLACED, story)
    assert failure in found


def built(lab: LabReport = GOOD) -> report.DemoReport:
    return report.build(
        outcome=Outcome.REPLACED,
        workflow_id="replace-etcd.user-cluster-1",
        run_id="r",
        seconds=20.12345,
        steps=[],
        lab=lab,
    )


def test_the_report_has_exactly_the_promised_fields() -> None:
    written = built().model_dump(mode="json")
    assert list(written) == [
        "outcome",
        "workflow_id",
        "run_id",
        "kubernetes",
        "etcd",
        "duration_seconds",
        "acknowledged_writes",
        "lost_writes",
        "longest_write_gap_seconds",
        "survivor_restarts",
        "seconds_without_pdb",
        "pdb_restored",
        "initial_cluster_state",
        "update_strategy",
        "node_schedulable",
        "members",
        "steps",
    ]
    assert list(written["members"][0]) == ["name", "id", "learner", "started"]
    assert list(report.ReportedStep.model_fields) == ["name", "started_at", "finished_at", "attempts"]
    assert written["update_strategy"] == "RollingUpdate"
    assert written["node_schedulable"] is True


def test_a_cordoned_node_shows() -> None:
    assert built(after(unschedulable_nodes=["node-2"])).node_schedulable is False


def test_people_read_what_is_not_as_before() -> None:
    bad = with_(pdb_restored=False)
    said = dict(report.lines(built(bad), bad))
    assert said["PodDisruptionBudget"].startswith("NOT as before")
    assert said["update strategy"] == "RollingUpdate, as before"


@pytest.mark.parametrize(
    ("outcome", "story", "code"),
    [
        (Outcome.REPLACED, GOOD, 0),
        (Outcome.REPLACED, judged(lost_writes=1), 1),
        (Outcome.REFUSED, GOOD, 3),
        (Outcome.ROLLED_BACK, GOOD, 4),
        (Outcome.LEFT_INCOMPLETE, judged(lost_writes=1), 6),
    ],
)
def test_the_exit_code_is_the_outcomes_or_1(outcome: Outcome, story: LabReport, code: int) -> None:
    console = Console(file=io.StringIO())
    ending = Ending(outcome, "it [broke]")
    assert play.judge(ending, built(story), story, console) == code
    assert isinstance(console.file, io.StringIO)
    assert ("Replaced; no write lost" in console.file.getvalue()) == (code == 0)
