"""The runbook done by hand with kubectl goes right and wrong as it did on a real cluster (facts in docs/lab.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.binaries import control_plane_folder
from lab.client import LabClient
from lab.fixture.names import REPLICAS
from lab.models import Fault, LabStatus, Seen
from lab.options import LabOptions
from lab.runner import running_lab
from tests.lab.nodes.kubectl import Kubectl
from tests.lab.nodes.runbook import ByHand
from tests.lab.nodes.waiting import until

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.needs("kubectl", "namespaces"),
]
AN_ELECTION = 3.0
FOUND_ITSELF_REMOVED = 1
"""Restarts: it may end again and again, or, where its first end came before its first entry, run on without a peer."""
BOTH_TWICE = ["kube-etcd-2", "kube-etcd-1"] * 2
REAL = pytest.mark.needs("kubernetes")
"""The two control planes take turns: what differs between them is the business of tests/lab."""


TRIES = 4


@asynccontextmanager
async def operation(
    kind: str,
    directory: Path,
    replica: str,
    *,
    pod_management: str = "OrderedReady",
    fault: Fault = "corrupt-wal",
) -> AsyncIterator[tuple[LabClient, ByHand]]:
    """A lab with one dead member, three writers, and a person with kubectl."""
    options = LabOptions.model_validate({"kubernetes": kind, "pod_management": pod_management})
    async with running_lab(options, directory) as lab:
        await lab.start_traffic(writers=3)
        await lab.destroy(replica, fault)
        yield lab, ByHand(Kubectl(control_plane_folder() / "kubectl", lab.kubeconfig), replica)


async def until_status(lab: LabClient, holds: Callable[[LabStatus], bool], within: float = 60) -> None:
    """Wait until the lab is in some state; an AssertionError shows the one it was left in."""
    last: LabStatus | None = None

    async def found() -> bool:
        nonlocal last
        last = await lab.status()
        return holds(last)

    try:
        await until(found, within)
    except TimeoutError:
        raise AssertionError(f"the lab did not come to it within {within:.0f} s: {last}") from None


def restarts(status: LabStatus, name: str) -> int:
    """How often the pod's container was restarted."""
    return sum(pod.restarts for pod in status.pods if pod.name == name)


def gap(status: LabStatus) -> float:
    """For how long no write was acknowledged, at worst."""
    return status.traffic.longest_gap_seconds if status.traffic else 0.0


@pytest.mark.parametrize(
    ("kind", "replica", "fault", "pod_management"),
    [
        pytest.param("real", "kube-etcd-0", "corrupt-wal", "OrderedReady", marks=REAL),
        ("simulated", "kube-etcd-1", "wipe", "OrderedReady"),
        pytest.param("real", "kube-etcd-2", "corrupt-db", "Parallel", marks=REAL),
    ],
)
async def test_the_order_of_the_contract_restarts_no_healthy_member(
    kind: str, tmp_path: Path, replica: str, fault: Fault, pod_management: str
) -> None:
    """Three voters again, nothing lost, the survivors' pods untouched, everything back."""
    made = operation(kind, tmp_path, replica, fault=fault, pod_management=pod_management)
    async with made as (lab, person):
        await person.as_the_contract_says()
        await lab.stop_traffic()
        report = await lab.report()
    assert [member.name for member in report.members if member.healthy] == list(REPLICAS)
    assert report.judgement.lost_writes == 0
    assert report.judgement.unread_members == []
    assert report.judgement.survivor_restarts == 0
    assert report.judgement.seconds_without_pdb < 10
    assert report.after == report.before


@pytest.mark.parametrize(
    ("kind", "replica"), [("simulated", "kube-etcd-0"), pytest.param("real", "kube-etcd-1", marks=REAL)]
)
async def test_as_written_under_ordered_ready_it_loses_the_quorum(
    kind: str, tmp_path: Path, replica: str
) -> None:
    """A healthy member is deleted and never re-created: writes stop for good.

    It happens where the wiped pod is seen Ready before it finds itself removed: a race of about a second, which a
    busy machine may decide otherwise, as may a cluster. So it has some tries.
    """
    for number in range(TRIES):
        if await loses_the_quorum(kind, tmp_path / str(number), replica):
            return
    raise AssertionError(f"the quorum was kept {TRIES} times in a row")


async def loses_the_quorum(kind: str, directory: Path, replica: str) -> bool:
    """Do it as it is written; False where the replica crash-loops and the others serve on."""
    async with operation(kind, directory, replica) as (lab, person):
        await person.as_it_is_written()
        await until_status(lab, lambda status: gap(status) > 8 or restarts(status, replica) >= 6)
        status, report = await lab.status(), await lab.report()
    if gap(status) <= 8:
        return False
    lost = set(REPLICAS) - {pod.name for pod in status.pods}
    assert lost
    assert replica not in lost
    assert lost <= set(report.judgement.restarted)
    assert status.leader is None
    return True


@pytest.mark.parametrize("kind", ["simulated"])
async def test_as_written_the_highest_ordinal_costs_no_healthy_member_but_never_comes_back(
    kind: str, tmp_path: Path
) -> None:
    """Without a member add it cannot."""
    async with operation(kind, tmp_path, "kube-etcd-2") as (lab, person):
        await person.as_it_is_written()
        await until_status(lab, lambda status: restarts(status, "kube-etcd-2") >= FOUND_ITSELF_REMOVED)
        report = await lab.report()
    assert report.judgement.survivor_restarts == 0
    assert report.traffic.longest_gap_seconds < AN_ELECTION
    assert [member.name for member in report.members] == ["kube-etcd-0", "kube-etcd-1"]
    assert "kube-etcd-2" in report.judgement.unread_members


@pytest.mark.parametrize("kind", ["simulated", pytest.param("real", marks=REAL)])
async def test_as_written_under_parallel_it_restarts_the_healthy_members(kind: str, tmp_path: Path) -> None:
    """The story is the same on both: each edit of the template is a rollout, which asks neither the PDB nor etcd."""
    async with operation(kind, tmp_path, "kube-etcd-0", pod_management="Parallel") as (lab, person):
        await person.as_it_is_written()
        await until(lambda: _are_told(lab, BOTH_TWICE))
        await until_status(lab, lambda status: restarts(status, "kube-etcd-0") >= FOUND_ITSELF_REMOVED)
        told, report = story((await lab.evidence()).sightings, "kube-etcd-0"), await lab.report()
    assert told == BOTH_TWICE
    assert [member.name for member in report.members] == ["kube-etcd-1", "kube-etcd-2"]
    assert report.judgement.restarted == ["kube-etcd-1", "kube-etcd-2"]
    assert report.traffic.longest_gap_seconds > 0.5
    assert "kube-etcd-0" in report.judgement.unread_members


async def _are_told(lab: LabClient, wanted: list[str]) -> bool:
    return len(story((await lab.evidence()).sightings, "kube-etcd-0")) >= len(wanted)


def story(sightings: Sequence[Seen], failed: str) -> list[str]:
    """Which healthy pod was replaced by another one, in this order."""
    known: dict[str, set[str]] = {}
    told: list[str] = []
    for seen in sightings:
        uids = known.setdefault(seen.pod, {seen.uid})
        if seen.uid not in uids and seen.pod != failed:
            told.append(seen.pod)
        uids.add(seen.uid)
    return told


def test_a_story_tells_each_new_pod_but_those_of_the_failed_one() -> None:
    lives = [("kube-etcd-0", "a"), ("kube-etcd-1", "b"), ("kube-etcd-0", "c"), ("kube-etcd-1", "d")]
    seen = [Seen(pod=pod, uid=uid, restarts=0, deleted=False) for pod, uid in lives]
    assert story(seen, "kube-etcd-0") == ["kube-etcd-1"]
