"""The page of a replacement in the Web UI: what is asked comes first, and can be copied into a shell as it is."""

from __future__ import annotations

from datetime import UTC, datetime

from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Check, DrainedPod, Plan, Verdict
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.result import Outcome, Progress, Step
from replace_etcd.narration import details

AT = datetime(2026, 1, 1, tzinfo=UTC)
ID = "replace-etcd.user-cluster-1"
REQUEST = ReplacementRequest(user_cluster="user-cluster-1", failed_replica="kube-etcd-1")
HELD = Progress(
    phase=Phase.HELD,
    waiting_for="resolve",
    choices=["resolve retry", "resolve abandon"],
    deadline=AT,
    reason="add_member: no quorum",
    steps=[
        Step(name="a", summary="cordon node-2", note="cordoned", started_at=AT, finished_at=AT, attempts=3),
        Step(name="b", summary="add it", error="no --quorum=2", started_at=AT, finished_at=AT, attempts=0),
    ],
    current="stand_guard",
)


def test_what_is_asked_comes_first_with_both_commands() -> None:
    page = details(ID, REQUEST, None, HELD)
    assert page.startswith("### kube-etcd-1 of user-cluster-1\n\n**Holds: somebody has to decide**")
    assert "> add_member: no quorum" in page
    assert "\nreplace-etcd resolve retry user-cluster-1\ntemporal workflow update execute \\\n" in page
    assert '--name resolve --input \'{"choice": "retry", "by": "YOU"}\'' in page
    assert page.index("resolve abandon") < page.index("#### Steps")


def test_the_steps_are_a_checklist_in_which_flags_stay_flags() -> None:
    lines = details(ID, REQUEST, None, HELD).splitlines()
    assert "- ✔ cordon node-2: cordoned (3 attempts)" in lines
    assert "- ✘ add it: no `--quorum=2`" in lines
    assert "- … **stand guard**" in lines


def test_the_plan_names_the_pods_that_go_and_shows_the_worst_first() -> None:
    plan = Plan(
        checks=[
            Check(name="fine", verdict=Verdict.OK, evidence="a|b"),
            Check(name="bad", verdict=Verdict.REFUSE, evidence="no", way_out="mend it"),
        ],
        actions=["cordon node-2"],
        drained=[
            DrainedPod(namespace="x", name="goes", uid="1", evict=True),
            DrainedPod(namespace="x", name="stays", uid="2", evict=False),
        ],
        made_at=AT,
    )
    page = details(ID, REQUEST, plan, Progress(phase=Phase.PREFLIGHT, outcome=Outcome.REFUSED, reason="no"))
    assert page.startswith("### kube-etcd-1 of user-cluster-1: refused\n\nno\n")
    assert "1. cordon node-2" in page
    assert "The drain evicts: x/goes\n" in page
    assert page.endswith("| **refuse** | bad | no (mend it) |\n| ok | fine | a/b |")
