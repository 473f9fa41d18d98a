"""Which conditions of a user cluster mean that somebody works on it."""

import pytest

from replace_etcd.cluster import Object
from replace_etcd.user_cluster import unclear, work_under_way


def owner(*conditions: Object, generation: int = 1, observed: int | None = None, **metadata: str) -> Object:
    status: Object = {"conditions": list(conditions)}
    if observed is not None:
        status["observedGeneration"] = observed
    return {"metadata": {"generation": generation, **metadata}, "status": status}


def condition(kind: str, status: str, reason: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason}


READY = condition("Ready", "True", "ClusterRunning")


@pytest.mark.parametrize(
    "kind",
    [
        "Reconciling",
        "Upgrading",
        "ClusterUpgrading",
        "Updating",
        "Progressing",
        "Deleting",
        "UpgradeInProgress",
    ],
)
def test_work_that_is_under_way(kind: str) -> None:
    (sign,) = work_under_way(owner(READY, condition(kind, "True", "Whatever")))
    assert kind in sign
    assert work_under_way(owner(READY, condition(kind, "False"))) == []


@pytest.mark.parametrize("reason", ["Upgrading", "ReconcileInProgress", "ClusterUpdating", "MasterCreating"])
def test_a_cluster_that_is_not_ready_for_such_a_reason(reason: str) -> None:
    assert work_under_way(owner(condition("Ready", "False", reason)))


@pytest.mark.parametrize("reason", ["EtcdUnhealthy", "ReconcileFailed", ""])
def test_a_cluster_that_is_not_ready_for_another_reason_is_a_doubt(reason: str) -> None:
    """A failed etcd replica may be that reason."""
    found = owner(condition("Ready", "False", reason))
    assert work_under_way(found) == []
    assert unclear(found)


def test_a_generation_that_its_controller_has_not_seen() -> None:
    assert work_under_way(owner(READY, generation=4, observed=3)) == ["generation 4 is wanted, 3 observed"]
    assert work_under_way(owner(READY, generation=4, observed=4)) == []


def test_a_cluster_that_is_being_deleted() -> None:
    assert work_under_way(owner(READY, deletionTimestamp="2026-01-01T00:00:00Z"))


@pytest.mark.parametrize("kind", ["Ready", "ClusterRunning", "NodePoolsRunning", "Stalled"])
def test_an_unknown_condition_is_a_doubt_and_a_running_cluster_is_at_rest(kind: str) -> None:
    assert unclear(owner(condition(kind, "Unknown")))
    at_rest = owner(READY, condition("ClusterRunning", "True"), condition("NodePoolsRunning", "True"))
    assert work_under_way(at_rest) == []
    assert unclear(at_rest) == []


def test_no_conditions_are_a_doubt() -> None:
    assert unclear({"metadata": {}}) == ["it reports no conditions"]
