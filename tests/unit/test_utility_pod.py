"""The utility Pod goes to the failed pod's node, whatever that node is called and whatever it keeps off."""

from typing import Any

from replace_etcd.settings import Settings
from replace_etcd.utility_pod import utility_pod
from tests.workflows.script import PINS

DEDICATED = {"key": "dedicated", "operator": "Equal", "value": "etcd", "effect": "NoSchedule"}


def spec_of(**pins: Any) -> Any:
    return utility_pod(PINS.model_copy(update=pins), Settings(), "run", 1)["spec"]


def test_it_goes_to_the_node_by_its_name_and_asks_for_no_label_that_the_node_has_not() -> None:
    spec = spec_of(node="node-2", node_hostname="host-2")
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "host-2"}
    assert spec_of(node_hostname="")["nodeSelector"] == {}
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-2"]}]}


def test_it_tolerates_what_the_failed_pod_tolerates_and_pulls_as_it_does() -> None:
    spec = spec_of(tolerations=[DEDICATED], pull_secrets=[{"name": "registry"}])
    assert DEDICATED in spec["tolerations"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    keys = [toleration["key"] for toleration in spec_of()["tolerations"]]
    assert keys == [f"node.kubernetes.io/{key}" for key in ("not-ready", "unreachable", "unschedulable")]
