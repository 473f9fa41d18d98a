"""StatefulSets: order, revisions, status, claims; what a deleted pod comes back as."""

from __future__ import annotations

from typing import Any

import pytest

from lab.kube_client import KubeClient
from tests.lab.kubelet import Kubelet
from tests.lab.world import World, is_ready, revision_of, uid_of

Json = dict[str, Any]
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
    },
}


async def test_ordered_ready_creates_one_after_another(world: World, kubelet: Kubelet) -> None:
    kubelet.unready.add("etcd-0")
    await world.stateful_set()
    await world.until_pods(lambda pods: "etcd-0" in pods)
    assert list(await world.settled()) == ["etcd-0"]
    await kubelet.heal("etcd-0")
    await world.until_pods(lambda pods: len(pods) == 3)


async def test_parallel_creates_all_at_once(world: World) -> None:
    await world.stateful_set(podManagementPolicy="Parallel")
    await world.until_pods(lambda pods: len(pods) == 3)


async def test_a_pod_of_a_set_has_a_stable_identity(world: World, kubelet: Kubelet) -> None:
    sts = await world.stateful_set(replicas=1)
    pods = await world.until_pods(lambda pods: "etcd-0" in pods)
    pod = pods["etcd-0"]
    assert pod["spec"]["hostname"] == "etcd-0"
    assert pod["spec"]["subdomain"] == "etcd"
    labels = pod["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "etcd-0"
    assert labels["apps.kubernetes.io/pod-index"] == "0"
    owner = pod["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("StatefulSet", uid_of(sts), True)


async def test_scaling_down_takes_the_highest_first_and_up_brings_it_back(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    before = await world.running_set()
    await client.patch("statefulsets", "etcd", {"spec": {"replicas": 1}}, world.namespace)
    after = await world.until_pods(lambda pods: len(pods) == 1)
    assert uid_of(after["etcd-0"]) == uid_of(before["etcd-0"])
    await client.patch("statefulsets", "etcd", {"spec": {"replicas": 2}}, world.namespace)
    await world.until_pods(lambda pods: len(pods) == 2)


async def test_a_deleted_pod_comes_back_under_its_name_as_another(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    before = await world.running_set()
    await client.delete("pods", "etcd-1", world.namespace)
    after = await world.until_replaced("etcd-1", before)
    assert revision_of(after) == revision_of(before["etcd-1"])


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
async def test_a_pod_that_has_ended_is_replaced(
    world: World, client: KubeClient, kubelet: Kubelet, phase: str
) -> None:
    """A permanently removed etcd member exits 0; with restartPolicy Always only a kubelet could say so."""
    before = await world.running_set()
    await client.patch("pods", "etcd-1", {"status": {"phase": phase}}, world.namespace, subresource="status")
    await world.until_replaced("etcd-1", before)


async def test_ordered_ready_creates_nothing_behind_a_pod_that_is_not_ready(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    before = await world.running_set()
    await kubelet.fail("etcd-0")
    await client.delete("pods", "etcd-2", world.namespace)
    await world.until_gone("pods", "etcd-2", uid_of(before["etcd-2"]))
    assert sorted(await world.settled()) == ["etcd-0", "etcd-1"]


async def test_parallel_creates_behind_a_pod_that_is_not_ready(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    before = await world.running_set(podManagementPolicy="Parallel")
    await kubelet.fail("etcd-0")
    await client.delete("pods", "etcd-2", world.namespace)
    await world.until_replaced("etcd-2", before)


async def test_the_status_counts(world: World, kubelet: Kubelet) -> None:
    await world.running_set()
    await kubelet.fail("etcd-2")
    sts = await world.until(lambda sts: sts["status"].get("readyReplicas") == 2, "statefulsets", "etcd")
    status = sts["status"]
    counts = {
        name: status[name] for name in ("replicas", "availableReplicas", "currentReplicas", "updatedReplicas")
    }
    assert counts == {"replicas": 3, "availableReplicas": 2, "currentReplicas": 3, "updatedReplicas": 3}
    assert status["currentRevision"] == status["updateRevision"]
    assert status["observedGeneration"] == sts["metadata"]["generation"]


async def test_equal_templates_share_a_revision(world: World, client: KubeClient) -> None:
    """Flag there and back: the pods that were never restarted match the template again."""
    await world.stateful_set(replicas=0)
    first = (await world.until(has_revisions, "statefulsets", "etcd"))["status"]["updateRevision"]
    there = await world.set_flag("existing")
    changed = await world.until(observes(there), "statefulsets", "etcd")
    assert changed["status"]["updateRevision"] != first
    back = await world.set_flag("new")
    again = await world.until(observes(back), "statefulsets", "etcd")
    assert again["status"]["updateRevision"] == first
    revisions = await client.list("controllerrevisions", world.namespace)
    assert sorted(found["revision"] for found in revisions) == [2, 3]


async def test_labels_and_strategy_are_no_revision(world: World, client: KubeClient) -> None:
    await world.stateful_set(replicas=0)
    await world.until(has_revisions, "statefulsets", "etcd")
    patch: Json = {"metadata": {"labels": {"a": "b"}}, "spec": {"updateStrategy": {"type": "OnDelete"}}}
    patch["spec"]["updateStrategy"]["rollingUpdate"] = None
    changed = await client.patch("statefulsets", "etcd", patch, world.namespace)
    await world.until(observes(changed), "statefulsets", "etcd")
    assert len(await client.list("controllerrevisions", world.namespace)) == 1


async def test_a_set_makes_claims_and_leaves_them(world: World, client: KubeClient, kubelet: Kubelet) -> None:
    await world.stateful_set(replicas=1, volumeClaimTemplates=[CLAIM])
    await world.until_pods(lambda pods: "etcd-0" in pods)
    claim = await world.get("persistentvolumeclaims", "data-etcd-0")
    volume = (await world.get("pods", "etcd-0"))["spec"]["volumes"][0]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-etcd-0"}}
    await client.delete("statefulsets", "etcd", world.namespace)
    await world.until_no_pods()
    assert uid_of(await world.get("persistentvolumeclaims", "data-etcd-0")) == uid_of(claim)


async def test_no_pod_is_made_for_a_claim_that_is_being_deleted(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await world.stateful_set(replicas=1, volumeClaimTemplates=[CLAIM])
    await world.until_pods(lambda pods: "etcd-0" in pods)
    held: Json = {"metadata": {"finalizers": ["example.com/held"]}}
    claim = await client.patch("persistentvolumeclaims", "data-etcd-0", held, world.namespace)
    await client.delete("persistentvolumeclaims", "data-etcd-0", world.namespace)
    await client.delete("pods", "etcd-0", world.namespace)
    await world.until_event("FailedCreate", "etcd")
    assert await world.settled() == {}
    await client.patch(
        "persistentvolumeclaims", "data-etcd-0", {"metadata": {"finalizers": None}}, world.namespace
    )
    await world.until_pods(lambda pods: "etcd-0" in pods, within=60)
    assert uid_of(await world.get("persistentvolumeclaims", "data-etcd-0")) != uid_of(claim)


async def test_pods_are_told_of_in_events(world: World, client: KubeClient) -> None:
    await world.stateful_set(replicas=1)
    await world.until_pods(lambda pods: "etcd-0" in pods)
    event = await world.until_event("SuccessfulCreate", "etcd")
    assert event["message"] == "create Pod etcd-0 in StatefulSet etcd successful"


async def test_min_ready_seconds_delay_what_comes_next(world: World, kubelet: Kubelet) -> None:
    await world.stateful_set(replicas=2, minReadySeconds=1)
    first = (await world.until_pods(lambda pods: "etcd-0" in pods and is_ready(pods["etcd-0"])))["etcd-0"]
    second = (await world.until_pods(lambda pods: "etcd-1" in pods))["etcd-1"]
    ready_since = next(found for found in first["status"]["conditions"] if found["type"] == "Ready")
    created = second["metadata"]["creationTimestamp"]
    assert created > first["metadata"]["creationTimestamp"], ready_since


def has_revisions(sts: Json) -> bool:
    return bool(sts["status"].get("updateRevision"))


def observes(patched: Json) -> Any:
    return lambda sts: sts["status"].get("observedGeneration") == patched["metadata"]["generation"]
