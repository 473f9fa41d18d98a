"""What keeps a pod off a node."""

from typing import Any

import pytest

from replace_etcd.cluster import Object
from replace_etcd.scheduling import obstacles, soft_anti_affinity, volume_fits

NODES: list[Object] = [
    {
        "metadata": {
            "name": f"node-{n}",
            "labels": {"kubernetes.io/hostname": f"node-{n}", "disk": "ssd", "cpus": str(n)},
        },
        "spec": {},
    }
    for n in range(3)
]
NOT_READY = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def pod(**spec: Any) -> Object:
    return {"metadata": {"name": "kube-etcd-0", "labels": {"app": "etcd"}}, "spec": spec}


def expression(key: str, operator: str, *values: str) -> Object:
    return {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
        ]
    }


def tied_to(selector: Object) -> Object:
    return {"spec": {"nodeAffinity": {"required": selector}}}


def found(
    subject: Object, node: Object = NODES[1], volume: Object | None = None, *others: Object
) -> list[str]:
    return obstacles(subject, node, volume, list(others), NODES)


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        (expression("kubernetes.io/hostname", "In", "node-0", "node-1"), True),
        (expression("kubernetes.io/hostname", "In", "node-0"), False),
        (expression("disk", "NotIn", "ssd"), False),
        (expression("disk", "Exists"), True),
        (expression("gpu", "DoesNotExist"), True),
        (expression("cpus", "Gt", "0"), True),
        (expression("cpus", "Lt", "1"), False),
        (
            {
                "nodeSelectorTerms": [
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
                ]
            },
            True,
        ),
        ({"nodeSelectorTerms": [{}]}, False),
        (
            {
                "nodeSelectorTerms": [
                    *expression("gpu", "Exists")["nodeSelectorTerms"],
                    *expression("disk", "Exists")["nodeSelectorTerms"],
                ]
            },
            True,
        ),
    ],
)
def test_a_volume_and_a_pod_follow_the_same_selectors(selector: Object, fits: bool) -> None:
    assert volume_fits(tied_to(selector), NODES[1]) is fits
    required = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}
    assert found(pod(affinity=required)) == ([] if fits else ["its node affinity"])


def test_a_volume_without_affinity_may_be_anywhere() -> None:
    assert volume_fits({"spec": {}}, NODES[1])
    assert found(pod(), NODES[1], {"spec": {}}) == []


def test_a_node_selector() -> None:
    assert found(pod(nodeSelector={"disk": "ssd"})) == []
    assert found(pod(nodeSelector={"disk": "hdd"})) == ["its node selector"]


@pytest.mark.parametrize(
    "key",
    ["requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"],
)
def test_anti_affinity_keeps_away_only_where_it_is_required(key: str) -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "etcd"}}}
    subject = pod(affinity={"podAntiAffinity": {key: [term]}})
    other, stranger = (
        pod(nodeName="node-1"),
        {"metadata": {"labels": {"app": "x"}}, "spec": {"nodeName": "node-2"}},
    )
    required = key.startswith("required")
    assert soft_anti_affinity(subject) is not required
    assert found(subject, NODES[1], None, other, stranger) == (["its anti-affinity"] if required else [])
    assert found(subject, NODES[2], None, other, stranger) == []


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": NOT_READY["key"], "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": NOT_READY["key"], "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": NOT_READY["key"]}, True),
        ({"key": NOT_READY["key"], "operator": "Equal", "value": "x"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_taints_and_tolerations(toleration: Object, tolerated: bool) -> None:
    tainted = NODES[1] | {"spec": {"taints": [NOT_READY]}}
    assert found(pod(tolerations=[toleration]), tainted) == (
        [] if tolerated else [f"the taint {NOT_READY['key']}"]
    )


@pytest.mark.parametrize("taints", [[], [CORDON]])
def test_a_cordon_counts_once(taints: list[Object]) -> None:
    cordoned = NODES[1] | {"spec": {"unschedulable": True, "taints": taints}}
    assert found(pod(), cordoned) == [f"the taint {CORDON['key']}"]


def test_a_preferred_taint_keeps_nobody_out() -> None:
    assert found(pod(), NODES[1] | {"spec": {"taints": [{"key": "x", "effect": "PreferNoSchedule"}]}}) == []
