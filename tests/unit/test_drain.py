"""kubectl's verdicts over the pods of a node, and ours beyond them."""

from typing import Any

import pytest

from activities.drain import MIRROR, verdict
from replace_etcd.cluster import Object

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
