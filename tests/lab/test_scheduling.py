"""Where pods go and why not: cordon, selector, taints, anti-affinity, the node of a volume."""

from __future__ import annotations

from typing import Any

from lab.kube_client import KubeClient
from tests.lab.kubelet import Kubelet
from tests.lab.world import World, is_going

Json = dict[str, Any]

APART: Json = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "etcd"}}, "topologyKey": "kubernetes.io/hostname"}
        ]
    }
}
CORDONED = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}
NOT_HELPFUL = "Preemption is not helpful for scheduling."


async def placed(world: World, name: str = "p") -> str:
    """Wait until a pod has a node, and return the node."""
    pod = await world.until(lambda pod: bool(pod["spec"].get("nodeName")), "pods", name)
    node: str = pod["spec"]["nodeName"]
    return node


async def reason(world: World, words: str, name: str = "p") -> str:
    """Wait until the scheduler says something of a pod that contains these words, and return all of it."""
    pod = await world.until(lambda pod: words in message_of(pod), "pods", name)
    return message_of(pod)


def message_of(pod: Json) -> str:
    conditions = pod["status"].get("conditions") or []
    found: Json = next((entry for entry in conditions if entry["type"] == "PodScheduled"), {})
    return str(found.get("message", "")) if found.get("reason") == "Unschedulable" else ""


async def test_a_pod_is_bound_to_a_node_that_is_ready(world: World) -> None:
    node = await world.node()
    await world.pod(**world.on_own_nodes())
    assert await placed(world) == node
    pod = await world.get("pods", "p")
    scheduled = next(found for found in pod["status"]["conditions"] if found["type"] == "PodScheduled")
    assert scheduled["status"] == "True"
    event = await world.until_event("Scheduled", "p")
    assert event["message"] == f"Successfully assigned {world.namespace}/p to {node}"


async def test_pods_are_spread(world: World) -> None:
    nodes = {await world.node(), await world.node()}
    for name in ("a", "b"):
        await world.pod(name, **world.on_own_nodes())
    assert {await placed(world, name) for name in ("a", "b")} == nodes


async def test_a_cordoned_node_takes_no_pod_until_it_is_uncordoned(world: World, client: KubeClient) -> None:
    node = await world.node()
    await client.patch("nodes", node, {"spec": {"unschedulable": True}})
    await world.until(lambda node: bool(node["spec"].get("taints")), "nodes", node, namespace="")
    await world.pod(**world.on_own_nodes())
    message = await reason(world, "unschedulable")
    assert message == (
        "0/1 nodes are available: 1 node(s) were unschedulable. "
        f"no new claims to deallocate, preemption: 0/1 nodes are available: 1 {NOT_HELPFUL}"
    )
    await client.patch("nodes", node, {"spec": {"unschedulable": None}})
    assert await placed(world) == node


async def test_a_cordoned_node_takes_a_pod_that_tolerates_it(world: World, client: KubeClient) -> None:
    """The utility Pod of the runbook does."""
    node = await world.node()
    await client.patch("nodes", node, {"spec": {"unschedulable": True}})
    await world.pod(tolerations=[CORDONED], **world.on_own_nodes())
    assert await placed(world) == node


async def test_a_cordon_adds_a_taint_and_an_uncordon_takes_it(world: World, client: KubeClient) -> None:
    node = await world.node()
    await client.patch("nodes", node, {"spec": {"unschedulable": True}})
    await world.until(lambda node: bool(node["spec"].get("taints")), "nodes", node, namespace="")
    cordoned = await client.get("nodes", node)
    taint = cordoned["spec"]["taints"][0]
    assert (taint["key"], taint["effect"]) == ("node.kubernetes.io/unschedulable", "NoSchedule")
    await client.patch("nodes", node, {"spec": {"unschedulable": None}})
    await world.until(lambda node: not node["spec"].get("taints"), "nodes", node, namespace="")


async def test_a_node_that_was_never_ready_takes_no_pod(world: World) -> None:
    await world.node(ready=False)
    await world.pod(**world.on_own_nodes())
    assert "1 node(s) had untolerated taint(s)" in await reason(world, "taint")


async def test_a_selector_that_no_node_has_leaves_the_pod_pending(world: World) -> None:
    await world.node()
    await world.pod(nodeSelector={"kubernetes.io/hostname": "another"})
    message = await reason(world, "selector")
    assert "1 node(s) didn't match Pod's node affinity/selector" in message
    event = await world.until_event("FailedScheduling", "p")
    assert event["type"] == "Warning"


async def test_without_any_node_the_scheduler_says_so(world: World) -> None:
    await world.pod()
    assert await reason(world, "no nodes") == "no nodes available to schedule pods"


async def test_a_taint_keeps_pods_away_that_do_not_tolerate_it(world: World, client: KubeClient) -> None:
    node = await world.node()
    taint = {"key": "example.com/dedicated", "value": "etcd", "effect": "NoSchedule"}
    await client.patch("nodes", node, {"spec": {"taints": [taint]}})
    await world.pod("a", **world.on_own_nodes())
    await reason(world, "1 node(s) had untolerated taint(s)", "a")
    toleration = {
        "key": "example.com/dedicated",
        "operator": "Equal",
        "value": "etcd",
        "effect": "NoSchedule",
    }
    await world.pod("b", tolerations=[toleration], **world.on_own_nodes())
    assert await placed(world, "b") == node


async def test_members_that_must_be_apart_are(world: World) -> None:
    nodes = {await world.node(), await world.node()}
    for name in ("a", "b", "c"):
        await world.pod(name, labels={"app": "etcd"}, affinity=APART, **world.on_own_nodes())
    first, second = await placed(world, "a"), await placed(world, "b")
    assert {first, second} == nodes
    assert "2 node(s) didn't match pod anti-affinity rules" in await reason(world, "anti-affinity", "c")


async def test_a_pod_goes_where_its_volume_is(world: World) -> None:
    await world.node()
    home = await world.node()
    await world.volume("data", home)
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await world.pod(volumes=[volume], **world.on_own_nodes())
    assert await placed(world) == home


async def test_a_member_whose_node_is_cordoned_waits_for_its_volume(world: World, client: KubeClient) -> None:
    """What `kube-etcd-N` says between the eviction and the uncordon."""
    home = await world.node()
    for _ in range(2):
        await world.node()
    await world.volume("data", home)
    await client.patch("nodes", home, {"spec": {"unschedulable": True}})
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await world.pod(volumes=[volume])
    message = await reason(world, "unschedulable")
    assert message.startswith(
        "0/3 nodes are available: 1 node(s) were unschedulable, "
        "2 node(s) didn't match PersistentVolume's node affinity."
    )
    await client.patch("nodes", home, {"spec": {"unschedulable": None}})
    assert await placed(world) == home


async def test_a_claim_without_a_volume_keeps_its_pod_waiting(world: World, client: KubeClient) -> None:
    home = await world.node()
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await world.pod(volumes=[volume])
    await reason(world, 'persistentvolumeclaim "data" not found')
    await world.create("persistentvolumeclaims", world.claim("data"))
    await reason(world, "unbound immediate PersistentVolumeClaims")
    await world.volume("data", home, with_claim=False)
    assert await placed(world) == home


async def test_two_pods_share_a_volume_of_one_node(world: World) -> None:
    """ReadWriteOnce is per node: nothing keeps the utility Pod from the data of a running member."""
    home = await world.node()
    await world.volume("data", home)
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    for name in ("a", "b"):
        await world.pod(name, volumes=[volume])
        assert await placed(world, name) == home


async def test_a_read_write_once_pod_claim_admits_one_pod(world: World, kubelet: Kubelet) -> None:
    home = await world.node()
    await world.volume("data", home, modes=["ReadWriteOncePod"])
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await world.pod("a", volumes=[volume])
    assert await placed(world, "a") == home
    await world.pod("b", volumes=[volume])
    await reason(world, "ReadWriteOncePod access mode already in-use by another pod", "b")


async def test_a_no_execute_taint_removes_pods_that_do_not_tolerate_it(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    node = await world.node()
    kubelet.hung |= {"a", "b"}
    taint = {"key": "example.com/gone", "effect": "NoExecute"}
    await world.pod("a", **world.on_own_nodes())
    await world.pod("b", tolerations=[{"operator": "Exists"}], **world.on_own_nodes())
    await placed(world, "a")
    await placed(world, "b")
    await client.patch("nodes", node, {"spec": {"taints": [taint]}})
    going = await world.until(is_going, "pods", "a")
    reasons = {found["type"]: found.get("reason") for found in going["status"]["conditions"]}
    assert reasons["DisruptionTarget"] == "DeletionByTaintManager"
    assert not is_going(await world.get("pods", "b"))


async def test_a_toleration_for_a_time_delays_the_removal(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    node = await world.node()
    kubelet.hung.add("p")
    for_a_second = {
        "key": "example.com/gone",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 1,
    }
    await world.pod(tolerations=[for_a_second], **world.on_own_nodes())
    await placed(world)
    tainted = await client.patch(
        "nodes", node, {"spec": {"taints": [{"key": "example.com/gone", "effect": "NoExecute"}]}}
    )
    assert tainted["spec"]["taints"]
    assert not is_going(await world.get("pods", "p"))
    await world.until(is_going, "pods", "p")


async def test_a_binding_is_made_once(world: World, client: KubeClient) -> None:
    node = await world.node()
    await world.pod(schedulerName="nobody")
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}}
    await client.create("pods", body, world.namespace, "p", "binding")
    assert await placed(world) == node
    error = await world.refused(409, client.create("pods", body, world.namespace, "p", "binding"))
    assert "is already assigned to node" in error.message
