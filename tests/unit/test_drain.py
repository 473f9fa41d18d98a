"""kubectl's verdicts over the pods of a node, and ours beyond them."""

import asyncio
from typing import Any

import pytest

from activities import drain
from activities.drain import MIRROR, Drain, verdict
from activities.fencing import Attempt
from activities.step import TemporalIdentity, Toolbox
from replace_etcd.cluster import Eviction, Object
from replace_etcd.errors import ClusterError, OutcomeUnknown
from replace_etcd.models.orders import DrainOrder, Fence
from replace_etcd.models.phase import Phase
from replace_etcd.settings import Settings
from tests.unit.test_recheck import PINS

MANAGED = [{"kind": "ReplicaSet", "controller": True}]
DAEMON = [{"kind": "DaemonSet", "controller": True}]
SCRATCH = [{"name": "scratch", "emptyDir": {}}]


def pod(
    name: str = "web-1", phase: str = "Running", volumes: list[Any] | None = None, **metadata: Any
) -> Object:
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"volumes": volumes or []},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("subject", "evict", "forbidden"),
    [
        (pod(ownerReferences=MANAGED), True, ""),
        (pod(ownerReferences=DAEMON), False, ""),
        (pod(ownerReferences=DAEMON, phase="Succeeded"), True, ""),
        (pod(annotations={MIRROR: "x"}), False, ""),
        (pod(), False, "force_drain"),
        (pod(phase="Failed"), True, ""),
        (pod(ownerReferences=MANAGED, volumes=SCRATCH), False, "delete_emptydir_data"),
        (pod(ownerReferences=MANAGED, volumes=SCRATCH, phase="Succeeded"), True, ""),
        (pod(name="kube-etcd-2", ownerReferences=MANAGED), False, "drain: replica"),
    ],
)
def test_each_pod_has_kubectls_verdict(subject: Object, evict: bool, forbidden: str) -> None:
    answer = verdict(subject, delete_emptydir_data=False, force=False, etcd_name="kube-etcd")
    assert answer[0] is evict
    assert (forbidden in answer[2]) if forbidden else (answer[2] == "")


def test_consent_lets_unmanaged_pods_and_emptydir_data_go() -> None:
    assert verdict(pod(volumes=SCRATCH), delete_emptydir_data=True, force=True, etcd_name="kube-etcd")[0]


def test_no_consent_lets_another_etcd_pod_go() -> None:
    assert not verdict(pod(name="kube-etcd-0"), delete_emptydir_data=True, force=True, etcd_name="kube-etcd")[
        0
    ]


class Node:
    """A node whose pods are evicted as their names say."""

    def __init__(self, *names: str) -> None:
        self._pods = [
            pod(name, namespace="tenant", uid=name, ownerReferences=MANAGED) | {"spec": {}} for name in names
        ]
        self.asked: list[str] = []

    async def find(self, *_: object, **__: object) -> list[Object]:
        return self._pods

    async def evict(self, _: str, name: str, *, uid: str) -> Eviction:
        self.asked.append(name)
        if name == "unanswered":
            await asyncio.Event().wait()
        if name == "failing" and len(self.asked) >= len(self._pods):
            raise ClusterError(500, "InternalError", "etcd has no leader")
        return Eviction(admitted=False, reason="a budget")


class Held(Attempt):
    """The record is this attempt's."""

    async def hold(self, phase: Phase | None = None) -> None:
        self._under_way += 1


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two tries, and nobody hears how far it is."""
    monkeypatch.setattr(drain, "BLOCKED_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(drain, "tell", lambda *_: None)


async def drained(*names: str) -> None:
    tools = Toolbox(Node(*names), Settings(), TemporalIdentity("c", "n"), None)  # type: ignore[arg-type]
    order = DrainOrder(
        pins=PINS,
        fence=Fence(workflow_id="w", first_run_id="r", run_id="r", generation=1, phase=Phase.DRAINING),
        delete_emptydir_data=False,
        force=False,
        skip_uids=[],
    )
    await Drain(tools, order, Held(tools, order)).run()


async def test_a_drain_that_has_failed_evicts_nobody_any_more() -> None:
    """Else it would go on beside the rollback, and hold the record against it."""
    with pytest.raises(ClusterError, match="no leader"):
        await drained("blocked", "failing")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_eviction_without_an_answer_is_not_forgotten_when_another_fails() -> None:
    """It may take effect yet: whoever comes next has to wait it out."""
    with pytest.raises(OutcomeUnknown, match="no leader"):
        await drained("unanswered", "failing")
