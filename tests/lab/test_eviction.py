"""Eviction under a PodDisruptionBudget, in all its answers."""

from __future__ import annotations

from typing import Any

import pytest

from lab.kube_client import KubeClient
from tests.lab.kubelet import Kubelet
from tests.lab.world import World, is_going, is_ready, uid_of

Json = dict[str, Any]
TWO_OF_THREE = [
    {"minAvailable": 2},
    {"maxUnavailable": 1},
    {"minAvailable": "66%"},
    {"maxUnavailable": "33%"},
]


async def three_members(world: World, kubelet: Kubelet, **budget: Any) -> None:
    """Three Ready pods of one StatefulSet, and their budget's status up to date."""
    await world.stateful_set(podManagementPolicy="Parallel")
    await world.until_pods(lambda pods: sum(map(is_ready, pods.values())) == 3)
    if budget:
        await world.budget(**budget)
        await world.until(lambda pdb: pdb["status"].get("currentHealthy") == 3, "poddisruptionbudgets", "pdb")


async def fail(world: World, kubelet: Kubelet, pod: str, healthy: int = 2) -> None:
    await kubelet.fail(pod)
    await world.until(lambda pdb: pdb["status"]["currentHealthy"] == healthy, "poddisruptionbudgets", "pdb")


@pytest.mark.parametrize("budget", TWO_OF_THREE)
async def test_the_budget_counts(world: World, kubelet: Kubelet, budget: Json) -> None:
    await three_members(world, kubelet, **budget)
    status = (await world.get("poddisruptionbudgets", "pdb"))["status"]
    counts = {key: status[key] for key in ("currentHealthy", "desiredHealthy", "expectedPods")}
    assert counts == {"currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3}
    assert status["disruptionsAllowed"] == 1
    assert status["observedGeneration"] == 1
    condition = status["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "DisruptionAllowed",
        "True",
        "SufficientPods",
    )


@pytest.mark.parametrize("budget", TWO_OF_THREE)
async def test_a_healthy_pod_is_refused_while_another_has_failed(
    world: World, client: KubeClient, kubelet: Kubelet, budget: Json
) -> None:
    await three_members(world, kubelet, **budget)
    await fail(world, kubelet, "etcd-1")
    error = await world.refused(429, client.evict("etcd-0", world.namespace))
    assert error.reason == "TooManyRequests"
    cause = error.status["details"]["causes"][0]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget pdb needs 2 healthy pods and has 2 currently"
    assert "retryAfterSeconds" not in error.status["details"]
    assert not is_going(await world.get("pods", "etcd-0"))


@pytest.mark.parametrize("budget", TWO_OF_THREE)
async def test_the_failed_pod_is_admitted_though_no_disruption_is_allowed(
    world: World, client: KubeClient, kubelet: Kubelet, budget: Json
) -> None:
    """The runbook deletes the budget for this; on a current cluster there is no need to."""
    await three_members(world, kubelet, **budget)
    kubelet.hung.add("etcd-1")
    await fail(world, kubelet, "etcd-1")
    status = (await world.get("poddisruptionbudgets", "pdb"))["status"]
    assert status["disruptionsAllowed"] == 0
    answer = await client.evict("etcd-1", world.namespace)
    assert answer["status"] == "Success"
    pod = await world.get("pods", "etcd-1")
    assert is_going(pod)
    reasons = {found["type"]: found.get("reason") for found in pod["status"]["conditions"]}
    assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"


async def test_a_failed_pod_is_refused_where_the_budget_asks_for_all(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet, minAvailable=3)
    await fail(world, kubelet, "etcd-1")
    error = await world.refused(429, client.evict("etcd-1", world.namespace))
    assert error.status["details"]["causes"][0]["message"].endswith(
        "needs 3 healthy pods and has 2 currently"
    )


async def test_always_allow_admits_every_failed_pod(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet, minAvailable=3, unhealthyPodEvictionPolicy="AlwaysAllow")
    await fail(world, kubelet, "etcd-1")
    await client.evict("etcd-1", world.namespace)


async def test_no_pod_may_go_under_max_unavailable_zero_but_a_failed_one_may_not_either(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet, maxUnavailable=0)
    await world.refused(429, client.evict("etcd-0", world.namespace))
    await fail(world, kubelet, "etcd-1")
    await world.refused(429, client.evict("etcd-1", world.namespace))


async def test_a_dry_run_tells_the_truth_and_changes_nothing(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet, minAvailable=2)
    await client.evict("etcd-0", world.namespace, dryRun="All")
    await fail(world, kubelet, "etcd-1")
    before = await world.pods()
    await client.evict("etcd-1", world.namespace, {"dryRun": ["All"]}, dryRun="All")
    await world.refused(429, client.evict("etcd-0", world.namespace, dryRun="All"))
    assert await world.pods() == before


async def test_a_second_healthy_pod_is_refused_right_after_the_first(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet, minAvailable=2)
    kubelet.hung.add("etcd-0")
    await client.evict("etcd-0", world.namespace)
    await world.refused(429, client.evict("etcd-1", world.namespace))


async def test_two_budgets_over_one_pod_make_every_eviction_fail(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet, minAvailable=2)
    await world.budget("second", minAvailable=1)
    error = await world.refused(500, client.evict("etcd-0", world.namespace))
    assert error.message == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


async def test_a_pending_pod_is_not_guarded(world: World, client: KubeClient) -> None:
    await world.pod("etcd-0", labels={"app": "etcd"}, nodeName="somewhere")
    await world.budget(minAvailable=1)
    await client.evict("etcd-0", world.namespace)


async def test_without_a_budget_every_pod_may_go(world: World, client: KubeClient, kubelet: Kubelet) -> None:
    await three_members(world, kubelet)
    await client.evict("etcd-0", world.namespace)


async def test_evicting_a_pod_that_is_going_succeeds(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet, minAvailable=2)
    kubelet.hung.add("etcd-0")
    await client.evict("etcd-0", world.namespace)
    assert (await client.evict("etcd-0", world.namespace))["status"] == "Success"


async def test_an_eviction_can_carry_the_uid_that_is_meant(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet)
    mine = {"preconditions": {"uid": uid_of(await world.get("pods", "etcd-1"))}}
    await client.evict("etcd-1", world.namespace, mine)


async def test_an_eviction_of_another_uid_is_a_conflict_and_uses_the_budget_up(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    """The budget is asked first: for two minutes it takes the pod for gone, and refuses every other."""
    await three_members(world, kubelet, minAvailable=2)
    other = {"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}}
    error = await world.refused(409, client.evict("etcd-0", world.namespace, other))
    assert error.reason == "Conflict"
    pdb = await world.until(lambda pdb: pdb["status"]["currentHealthy"] == 2, "poddisruptionbudgets", "pdb")
    assert list(pdb["status"]["disruptedPods"]) == ["etcd-0"]
    await world.refused(429, client.evict("etcd-1", world.namespace))


async def test_an_eviction_can_carry_a_grace_period(world: World, client: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    await client.evict("p", world.namespace, {"gracePeriodSeconds": 5})
    assert (await world.get("pods", "p"))["metadata"]["deletionGracePeriodSeconds"] == 5


async def test_evicting_nothing_is_not_found(world: World, client: KubeClient) -> None:
    error = await world.refused(404, client.evict("none", world.namespace))
    assert error.reason == "NotFound"


async def test_an_eviction_names_the_pod_of_its_path(world: World, client: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "q"}}
    await world.refused(400, client.create("pods", body, world.namespace, "p", "eviction"))


async def test_a_budget_over_unmanaged_pods_counts_a_whole_number_only(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await world.pod("a", labels={"app": "etcd"}, nodeName="somewhere")
    await world.budget(minAvailable=1)
    pdb = await world.until(lambda pdb: pdb["status"]["currentHealthy"] == 1, "poddisruptionbudgets", "pdb")
    assert pdb["status"]["disruptionsAllowed"] == 0
    await world.refused(429, client.evict("a", world.namespace))


async def test_a_hung_pod_is_not_healthy_once_it_is_going(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    await three_members(world, kubelet, minAvailable=2)
    kubelet.hung.add("etcd-2")
    await client.delete("pods", "etcd-2", world.namespace)
    await world.until(lambda pdb: pdb["status"]["currentHealthy"] == 2, "poddisruptionbudgets", "pdb")
    await world.refused(429, client.evict("etcd-0", world.namespace))
