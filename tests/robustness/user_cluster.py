"""A user cluster for the quick tier: the objects that a replacement meets, many of them in one admin cluster.

The node of the failed replica belongs to one user cluster alone, since it is cordoned and drained; the survivors of
all share another.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Collection

from lab.fixture import user_cluster as fixture
from lab.fixture.names import CONTAINER, DISRUPTION_BUDGET, REPLICAS, SECRET, STATEFUL_SET, claim_of
from lab.kube_client import Json, KubeClient
from lab.nodes.node_object import node as node_object
from lab.nodes.node_object import status as node_status
from replace_etcd.models.record import Record
from tests.robustness.judge import Listed, Look, Pod

OWN = "replace-etcd/"
FLAG = "--initial-cluster-state="
FAILED = REPLICAS[1]
UTILITY = "etcd-utility-"
RECORD = "kube-etcd-replacement"
SHARED_NODE = "shared"
CLUSTER_NAME = "kubernetes.googleapis.com/cluster-name"
POLL = 0.05


def node_of(namespace: str, replica: str) -> str:
    """The node that a replica's volume is on."""
    return f"{namespace}.node" if replica == FAILED else SHARED_NODE


def other_node_of(namespace: str) -> str:
    """The node that the failed replica's volume can move to, once it is there."""
    return f"{namespace}.other"


async def let_node_die(client: KubeClient, namespace: str) -> None:
    """Let the node of the failed replica be silent; there is another one to go to."""
    await make_node(client, other_node_of(namespace), **{CLUSTER_NAME: namespace})
    name = node_of(namespace, FAILED)
    status = (await client.get("nodes", name))["status"]
    silent = [c | {"status": "Unknown"} if c["type"] == "Ready" else c for c in status["conditions"]]
    await client.patch("nodes", name, {"status": {"conditions": silent}}, subresource="status")


async def make_node(client: KubeClient, name: str, **labels: str) -> None:
    """A Ready node."""
    await client.create("nodes", node_object(name, labels) | {"status": node_status("127.0.0.1")})


async def create(
    client: KubeClient, namespace: str, certificates: dict[str, bytes], pod_management: str
) -> None:
    """Create it all; the StatefulSet comes after what its pods need."""
    await client.create("namespaces", {"metadata": {"name": namespace}})
    secret = {"metadata": {"name": SECRET}, "data": {k: _encoded(v) for k, v in certificates.items()}}
    await asyncio.gather(
        make_node(client, node_of(namespace, FAILED), **{CLUSTER_NAME: namespace}),
        *(_volume(client, namespace, replica) for replica in REPLICAS),
        client.create("secrets", secret, namespace),
        client.create("poddisruptionbudgets", fixture.disruption_budget(STATEFUL_SET), namespace),
    )
    await client.create("statefulsets", stateful_set(pod_management), namespace)
    await client.create("statefulsets", _tenant(namespace), namespace)


def stateful_set(pod_management: str) -> Json:
    """The vendor's StatefulSet, held to its nodes by its volumes alone."""
    made = fixture.etcd(pod_management, [])
    spec = made["spec"]["template"]["spec"]
    del spec["affinity"], spec["nodeSelector"]
    return made


async def _volume(client: KubeClient, namespace: str, replica: str) -> None:
    claim, name = claim_of(replica), f"{namespace}.{replica}"
    nodes = [node_of(namespace, replica), *([other_node_of(namespace)] if replica == FAILED else [])]
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}
    volume = {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": claim},
            "local": {"path": f"/mnt/disks/{claim}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}},
        },
    }
    requests = {"requests": {"storage": "10Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": requests}
    body = {"metadata": {"name": claim}, "spec": {**spec, "volumeName": name}}
    await client.create("persistentvolumes", volume)
    await client.create("persistentvolumeclaims", body, namespace)


def _tenant(namespace: str) -> Json:
    """A pod beside the failed one, for the drain to evict."""
    labels = {"app": "tenant"}
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": node_of(namespace, FAILED)},
        "containers": [{"name": "tenant", "image": "registry.example/tenant:lab"}],
    }
    return {
        "metadata": {"name": "tenant"},
        "spec": {
            "replicas": 1,
            "serviceName": "tenant",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


async def until_counted(client: KubeClient, namespace: str, healthy: int) -> None:
    """Wait until the budget's controller has counted so many healthy pods."""
    while True:
        budget = await client.get("poddisruptionbudgets", DISRUPTION_BUDGET, namespace)
        if budget.get("status", {}).get("currentHealthy") == healthy:
            return
        await asyncio.sleep(POLL)


async def look(
    client: KubeClient, namespace: str, node_name: str, members: Collection[Listed], on_disk: Collection[str]
) -> Look:
    """Everything that a replacement touches, as the API shows it now."""
    stateful_set, budget, pods, node, record = await asyncio.gather(
        client.get("statefulsets", STATEFUL_SET, namespace),
        client.find("poddisruptionbudgets", DISRUPTION_BUDGET, namespace),
        client.list("pods", namespace),
        client.get("nodes", node_name),
        client.find("configmaps", RECORD, namespace),
    )
    found = [("node", node), ("StatefulSet", stateful_set), ("budget", budget or {"metadata": {}})]
    return Look(
        budget=budget["spec"] if budget else None,
        flag=flag_in(stateful_set["spec"]["template"]["spec"]),
        strategy=stateful_set["spec"]["updateStrategy"],
        template=stateful_set["spec"]["template"],
        pods={
            pod["metadata"]["name"]: Pod(flag_in(pod["spec"]), is_ready(pod))
            for pod in pods
            if pod["metadata"]["name"] in REPLICAS
        },
        unschedulable=bool(node["spec"].get("unschedulable")),
        members=tuple(members),
        on_disk=frozenset(on_disk),
        marks=tuple(sorted(f"{what}: {key}" for what, obj in found for key in _marks(obj))),
        utility_pods=tuple(p["metadata"]["name"] for p in pods if p["metadata"]["name"].startswith(UTILITY)),
        recorded=reason_in(record),
    )


def flag_in(spec: Json) -> str:
    """The value of the flag in a pod's, or the template's, own arguments."""
    (container,) = (item for item in spec["containers"] if item["name"] == CONTAINER)
    return next(str(word).removeprefix(FLAG) for word in container["args"] if word.startswith(FLAG))


def is_ready(pod: Json) -> bool:
    """The Ready condition."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def reason_in(record: Json | None) -> str | None:
    """The reason in the record's ConfigMap; None where there is none."""
    if record is None:
        return None
    return Record.from_data(record["data"]).reason


def _marks(obj: Json) -> list[str]:
    return [key for key in obj["metadata"].get("annotations") or {} if key.startswith(OWN)]


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
