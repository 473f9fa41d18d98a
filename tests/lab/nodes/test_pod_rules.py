"""The kubelet's pure rules: back-off, references in arguments, phases and container states."""

from __future__ import annotations

import datetime
from itertools import pairwise
from typing import Any

import pytest

from lab.nodes.environment import expand
from lab.nodes.pod_status import pod_status
from lab.nodes.pod_worker import LONGEST_BACK_OFF, back_off
from lab.nodes.records import PodRecord, Terminated, now
from lab.nodes.volumes import mounts


def record(policy: str = "Always") -> PodRecord:
    spec = {"containers": [{"name": "main"}], "restartPolicy": policy}
    return PodRecord.of({"metadata": {"uid": "u", "namespace": "n", "name": "p"}, "spec": spec})


def ended(code: int) -> Terminated:
    return Terminated(code, "Error" if code else "Completed", now(), now(), "lab://1")


def status(found: PodRecord) -> dict[str, Any]:
    return pod_status(found, "192.0.2.1")


def test_the_first_restart_waits_for_nothing_and_the_others_longer_and_longer() -> None:
    delays = [back_off(failures) for failures in range(1, 10)]
    assert delays[0] == 0
    assert all(later >= earlier for earlier, later in pairwise(delays))
    assert delays[-1] == LONGEST_BACK_OFF


def test_a_long_run_ends_a_series_of_failures() -> None:
    container = record().containers["main"]
    for _ in range(3):
        container.ended(1)
    assert container.failures_in_a_row == 3
    container.started_at = now() - datetime.timedelta(minutes=1)
    container.ended(1)
    assert container.failures_in_a_row == 1


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(NAME).svc", "etcd-1.svc"),
        ("$(OTHER)", "$(OTHER)"),
        ("$$(NAME)", "$(NAME)"),
        ("$NAME", "$NAME"),
        ("$(NAME", "$(NAME"),
        ("a$(NAME)b$(NAME)", "aetcd-1betcd-1"),
    ],
)
def test_references_in_arguments(text: str, expanded: str) -> None:
    assert expand(text, {"NAME": "etcd-1"}) == expanded


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Always", 0, "Running"),
        ("Always", 1, "Running"),
        ("OnFailure", 1, "Running"),
        ("OnFailure", 0, "Succeeded"),
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
    ],
)
def test_the_phase_of_a_pod_whose_container_ended(policy: str, code: int, phase: str) -> None:
    found = record(policy)
    found.containers["main"].waiting = ""
    found.containers["main"].finished = ended(code)
    assert status(found)["phase"] == phase


def test_a_pod_that_is_being_deleted_ends_in_a_phase_of_its_own() -> None:
    """Its containers will not be restarted, whatever its policy."""
    found = record()
    found.ending, found.containers["main"].waiting = True, ""
    found.containers["main"].finished = ended(0)
    assert status(found)["phase"] == "Succeeded"


def test_a_new_pod_is_pending_and_creates_its_container() -> None:
    reported = status(record())
    assert reported["phase"] == "Pending"
    assert reported["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert "podIP" not in reported


def test_a_crash_loop_shows_the_last_end_beside_the_waiting() -> None:
    found = record()
    container = found.containers["main"]
    container.finished, container.waiting = ended(2), "CrashLoopBackOff"
    reported = status(found)["containerStatuses"][0]
    assert reported["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert reported["lastState"]["terminated"]["exitCode"] == 2


def test_conditions_of_others_are_left_alone_and_times_kept() -> None:
    """The scheduler's condition survives; a condition that does not change keeps its time."""
    found = record()
    scheduled = {"type": "PodScheduled", "status": "True"}
    found.pod["status"] = {"conditions": [scheduled]}
    first, second = status(found)["conditions"], status(found)["conditions"]
    assert scheduled in first
    assert first == second


def test_outer_mounts_come_before_inner_ones(tmp_path: Any) -> None:
    wanted = [
        {"name": "v", "mountPath": "/a/b", "subPathExpr": "$(POD)"},
        {"name": "v", "mountPath": "/a", "subPath": "x"},
    ]
    found = mounts({"volumeMounts": wanted}, {"v": tmp_path}, {"POD": "kube-etcd-0"})
    assert [item.target for item in found] == ["/a", "/a/b"]
    assert [item.source for item in found] == [str(tmp_path / "x"), str(tmp_path / "kube-etcd-0")]
