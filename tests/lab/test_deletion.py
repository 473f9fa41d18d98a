"""Deletion: preconditions, a pod's grace, finalizers, dependents, namespaces, claims in use."""

from __future__ import annotations

from typing import Any

import pytest

from lab.kube_client import KubeClient
from tests.lab.kubelet import Kubelet
from tests.lab.world import World, is_going, uid_of

Json = dict[str, Any]
OTHER = "11111111-2222-3333-4444-555555555555"


async def test_a_deleted_object_is_answered_with_success(world: World, client: KubeClient) -> None:
    created = await world.create("configmaps", {"metadata": {"name": "c"}})
    answer = await client.delete("configmaps", "c", world.namespace)
    assert answer["kind"] == "Status"
    assert answer["status"] == "Success"
    assert answer["details"]["uid"] == uid_of(created)


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_a_precondition_that_does_not_hold_is_a_conflict(
    world: World, client: KubeClient, field: str
) -> None:
    await world.create("configmaps", {"metadata": {"name": "c"}})
    options = {"preconditions": {field: OTHER if field == "uid" else "1"}}
    error = await world.refused(409, client.delete("configmaps", "c", world.namespace, options))
    assert error.reason == "Conflict"
    assert "in the precondition" in error.message
    assert await client.find("configmaps", "c", world.namespace)


async def test_preconditions_that_hold_let_it_go(world: World, client: KubeClient) -> None:
    metadata = (await world.create("configmaps", {"metadata": {"name": "c"}}))["metadata"]
    wanted = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    await client.delete("configmaps", "c", world.namespace, {"preconditions": wanted})
    assert await client.find("configmaps", "c", world.namespace) is None


async def test_deleting_nothing_is_not_found(world: World, client: KubeClient) -> None:
    error = await world.refused(404, client.delete("pods", "p", world.namespace))
    assert error.reason == "NotFound"


async def test_a_dry_run_deletes_nothing(world: World, client: KubeClient) -> None:
    await world.create("configmaps", {"metadata": {"name": "c"}})
    await client.delete("configmaps", "c", world.namespace, None, dryRun="All")
    assert await client.find("configmaps", "c", world.namespace)


async def test_a_pod_without_a_node_goes_at_once(world: World, client: KubeClient) -> None:
    await world.pod(nodeSelector={"nowhere": "true"})
    await client.delete("pods", "p", world.namespace)
    assert await client.find("pods", "p", world.namespace) is None


async def test_a_pod_on_a_node_is_marked_and_waits_for_its_kubelet(world: World, client: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    answer = await client.delete("pods", "p", world.namespace)
    assert answer["kind"] == "Pod"
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 30
    assert is_going(await world.get("pods", "p"))
    await client.delete("pods", "p", world.namespace, {"gracePeriodSeconds": 0})
    assert await client.find("pods", "p", world.namespace) is None


async def test_a_pods_own_grace_counts(world: World, client: KubeClient) -> None:
    await world.pod(nodeName="somewhere", terminationGracePeriodSeconds=1)
    answer = await client.delete("pods", "p", world.namespace)
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 1


async def test_a_grace_period_can_be_shortened_and_not_lengthened(world: World, client: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    for asked, granted in ((20, 20), (25, 20), (5, 5)):
        await client.delete("pods", "p", world.namespace, {"gracePeriodSeconds": asked})
        pod = await world.get("pods", "p")
        assert pod["metadata"]["deletionGracePeriodSeconds"] == granted


async def test_a_kubelet_confirms_the_deletion(world: World, client: KubeClient, kubelet: Kubelet) -> None:
    created = await world.pod(nodeName="somewhere")
    await client.delete("pods", "p", world.namespace)
    await world.until_gone("pods", "p", uid_of(created))


async def test_a_finalizer_holds_an_object(world: World, client: KubeClient) -> None:
    await world.create("configmaps", {"metadata": {"name": "c", "finalizers": ["example.com/hold"]}})
    answer = await client.delete("configmaps", "c", world.namespace)
    assert answer["kind"] == "ConfigMap"
    assert is_going(answer)
    await client.patch("configmaps", "c", {"metadata": {"finalizers": None}}, world.namespace)
    assert await client.find("configmaps", "c", world.namespace) is None


async def test_what_is_going_cannot_be_created_again_yet(world: World, client: KubeClient) -> None:
    body = {"metadata": {"name": "c", "finalizers": ["example.com/hold"]}}
    await world.create("configmaps", body)
    await client.delete("configmaps", "c", world.namespace)
    error = await world.refused(409, world.create("configmaps", body))
    assert error.reason == "AlreadyExists"
    await client.patch("configmaps", "c", {"metadata": {"finalizers": None}}, world.namespace)


@pytest.mark.parametrize("policy", [None, "Background", "Foreground"])
async def test_dependents_go_with_their_owner(world: World, client: KubeClient, policy: str | None) -> None:
    owner, dependent = await owner_and_dependent(world)
    options = {"propagationPolicy": policy} if policy else None
    await client.delete("configmaps", "owner", world.namespace, options)
    await world.until_gone("configmaps", "dependent", uid_of(dependent))
    await world.until_gone("configmaps", "owner", uid_of(owner))


async def test_orphans_stay_and_lose_their_owner(world: World, client: KubeClient) -> None:
    owner, _ = await owner_and_dependent(world)
    await client.delete("configmaps", "owner", world.namespace, {"propagationPolicy": "Orphan"})
    await world.until_gone("configmaps", "owner", uid_of(owner))
    left = await world.get("configmaps", "dependent")
    assert not left["metadata"].get("ownerReferences")


async def test_an_object_whose_owner_never_was_is_collected(world: World) -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": OTHER}
    created = await world.create("configmaps", {"metadata": {"name": "c", "ownerReferences": [reference]}})
    await world.until_gone("configmaps", "c", uid_of(created))


async def test_the_pods_of_a_deleted_stateful_set_go_too(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await world.stateful_set(podManagementPolicy="Parallel")
    await world.until_pods(lambda pods: len(pods) == 3)
    await client.delete("statefulsets", "etcd", world.namespace)
    await world.until_no_pods()


async def test_a_collection_is_deleted_by_selector(world: World, client: KubeClient) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "1"}), ("c", {"x": "2"})):
        await world.create("configmaps", {"metadata": {"name": name, "labels": labels}})
    path = f"/api/v1/namespaces/{world.namespace}/configmaps"
    await client.request("DELETE", path, params={"labelSelector": "x=1"})
    left = await client.list("configmaps", world.namespace, labelSelector="x")
    assert [obj["metadata"]["name"] for obj in left] == ["c"]


async def test_a_namespace_that_goes_takes_all_with_it_and_lets_nothing_in(
    world: World, client: KubeClient
) -> None:
    name = f"{world.namespace}-2"
    await client.create("namespaces", {"metadata": {"name": name}})
    held = {"metadata": {"name": "c", "finalizers": ["example.com/hold"]}}
    await client.create("configmaps", held, name)
    await client.create("secrets", {"metadata": {"name": "s"}}, name)
    await client.delete("namespaces", name)
    error = await world.refused(403, client.create("configmaps", {"metadata": {"name": "d"}}, name))
    assert error.status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await world.until(is_going, "configmaps", "c", namespace=name)
    namespace = await client.get("namespaces", name)
    assert namespace["status"]["phase"] == "Terminating"
    await client.patch("configmaps", "c", {"metadata": {"finalizers": None}}, name)
    await world.until_gone("namespaces", name, uid_of(namespace), namespace="", within=30)


async def test_a_claim_that_a_pod_uses_outlives_its_deletion(world: World, client: KubeClient) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = await world.create(
        "persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": {**spec, "storageClassName": ""}}
    )
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await world.pod(volumes=[volume], nodeName="somewhere")
    await client.delete("persistentvolumeclaims", "data", world.namespace)
    assert is_going(await world.get("persistentvolumeclaims", "data"))
    await client.delete("pods", "p", world.namespace, {"gracePeriodSeconds": 0})
    await world.until_gone("persistentvolumeclaims", "data", uid_of(claim))


async def owner_and_dependent(world: World) -> tuple[Json, Json]:
    owner = await world.create("configmaps", {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid_of(owner)}
    body = {"metadata": {"name": "dependent", "ownerReferences": [reference | {"blockOwnerDeletion": True}]}}
    return owner, await world.create("configmaps", body)
