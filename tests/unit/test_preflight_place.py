"""A node that is not Ready is a warning with its signs of life; a volume that can move is told from one that cannot."""

from datetime import UTC, datetime, timedelta

import pytest

from activities.preflight_checks import Findings, Looks
from activities.preflight_place import look_at_readiness, look_elsewhere
from replace_etcd.cluster import LEASE, NODE, VOLUME, Object
from replace_etcd.models.plan import Check, Verdict
from replace_etcd.models.request import ReplacementRequest
from tests.unit.scripted_etcd import ScriptedEtcd

RENEWED = (datetime.now(UTC) - timedelta(minutes=7)).isoformat().replace("+00:00", "Z")


def node(name: str, *, ready: bool = True) -> Object:
    condition = {
        "type": "Ready",
        "status": "True" if ready else "Unknown",
        "message": "Kubelet stopped posting",
    }
    taints = [] if ready else [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]
    labels = {"kubernetes.io/hostname": name}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {"conditions": [condition]},
    }


def looks_at(*, ready: bool = True, affinity: Object | None = None) -> tuple[Looks, ScriptedEtcd]:
    """The failed pod on node-2, whose volume has this node affinity."""
    etcd = ScriptedEtcd()
    looks = Looks(etcd.tools(), ReplacementRequest(user_cluster="user-cluster-1"), Findings())
    looks.replica, looks.node = "kube-etcd-1", node("node-2", ready=ready)
    looks.pods = {"kube-etcd-1": {"metadata": {"uid": "uid-1"}, "spec": {}}}
    looks.claim = {"spec": {"volumeName": "pv"}}
    etcd.objects = {
        (NODE.plural, "node-1"): node("node-1"),
        (NODE.plural, "node-2"): looks.node,
        (LEASE.plural, "node-2"): {"spec": {"renewTime": RENEWED}},
        (VOLUME.plural, "pv"): {"spec": {"nodeAffinity": affinity} if affinity else {}},
    }
    return looks, etcd


def only(looks: Looks) -> Check:
    (check,) = looks.findings.checks
    return check


async def test_a_node_that_is_not_ready_is_a_warning_with_its_signs_of_life() -> None:
    looks, _ = looks_at(ready=False)
    await look_at_readiness(looks)
    check = only(looks)
    assert check.verdict is Verdict.WARN
    for words in ("not Ready", "lease renewed", "unreachable:NoExecute", "Kubelet stopped posting"):
        assert words in check.evidence
    assert "confirm_node_down" in check.way_out
    assert (looks.node_ready, looks.node_lease) == (False, RENEWED)


async def test_a_node_that_is_ready_has_no_lease_among_the_pins() -> None:
    """It moves every ten seconds: an approval would never find the plan that it was given for."""
    looks, _ = looks_at()
    await look_at_readiness(looks)
    assert only(looks).verdict is Verdict.OK
    assert (looks.node_ready, looks.node_lease) == (True, "")


async def test_a_node_without_a_lease() -> None:
    looks, etcd = looks_at(ready=False)
    del etcd.objects[LEASE.plural, "node-2"]
    await look_at_readiness(looks)
    assert "without a lease" in only(looks).evidence


@pytest.mark.parametrize("host", ["node-1", "node-2"])
async def test_a_volume_that_is_tied_to_a_node(host: str) -> None:
    on = {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}
    looks, _ = looks_at(affinity={"required": {"nodeSelectorTerms": [{"matchExpressions": [on]}]}})
    await look_elsewhere(looks)
    elsewhere = host == "node-1"
    assert looks.volume_can_move is elsewhere
    assert only(looks).verdict is (Verdict.REFUSE if elsewhere else Verdict.OK)


async def test_a_volume_that_is_tied_to_none_and_an_anti_affinity_that_is_soft() -> None:
    looks, _ = looks_at()
    await look_elsewhere(looks)
    assert looks.volume_can_move
    assert "it could start on node-1; its anti-affinity is no requirement" in only(looks).evidence
    assert "kubectl cordon node-1" in only(looks).way_out


async def test_a_dead_node_whose_pod_can_start_elsewhere_is_for_a_person_to_confirm() -> None:
    looks, _ = looks_at(ready=False)
    looks.node_ready = False
    await look_elsewhere(looks)
    assert only(looks).verdict is Verdict.WARN
