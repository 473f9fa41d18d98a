"""What an edit of the template does to the pods: the table of the runbook's outcomes, at the level of pods.

One member has failed (its pod is not Ready and does not become so). The fake kubelet keeps every other pod Ready, so
that only what the StatefulSet controller does by itself is seen here; what it does to etcd is tried in the lab.
"""

from __future__ import annotations

from typing import Any

import pytest

from lab.kube_client import KubeClient
from tests.lab.kubelet import Kubelet
from tests.lab.world import World, flag_of, is_going, is_ready, revision_of, uid_of

Json = dict[str, Any]

POLICIES = ["OrderedReady", "Parallel"]
ORDINALS = [0, 1, 2]
WRITTEN_OUT = {"type": "RollingUpdate"}
LEFT_OUT = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
STRATEGIES = [pytest.param(WRITTEN_OUT, id="no-rollingUpdate"), pytest.param(LEFT_OUT, id="partition-0")]


async def set_with_failure(world: World, kubelet: Kubelet, failed: int, **spec: Any) -> dict[str, Json]:
    """Three Ready pods, of which one then fails for good."""
    before = await world.running_set(**spec)
    await kubelet.fail(f"etcd-{failed}")
    await world.until(lambda sts: sts["status"].get("readyReplicas") == 2, "statefulsets", "etcd")
    return before


async def evict_and_count(world: World, client: KubeClient, kubelet: Kubelet, name: str) -> None:
    """Evict a pod, and let it go only when the controller's status no longer counts it.

    A pod that goes at once is re-created by a controller that may still read `currentReplicas: 3` in its cache.
    """
    kubelet.hung.add(name)
    await client.evict(name, world.namespace)
    await world.until(lambda sts: sts["status"]["currentReplicas"] == 2, "statefulsets", "etcd")
    await kubelet.let_go(name)


def restarted(before: dict[str, Json], after: dict[str, Json]) -> set[str]:
    """The pods that are gone, or that are others now."""
    return {name for name, pod in before.items() if name not in after or uid_of(after[name]) != uid_of(pod)}


async def test_a_rollout_goes_from_the_highest_ordinal_down_and_waits_for_ready(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    before = await world.running_set()
    kubelet.unready.add("etcd-2")
    await world.set_flag("existing")
    await world.until_replaced("etcd-2", before)
    assert restarted(before, await world.settled()) == {"etcd-2"}
    await kubelet.heal("etcd-2")
    await world.until_pods(
        lambda pods: (
            len(pods) == 3 and all(is_ready(pod) and flag_of(pod) == "existing" for pod in pods.values())
        )
    )
    sts = await world.until(
        lambda sts: sts["status"]["currentRevision"] == sts["status"]["updateRevision"],
        "statefulsets",
        "etcd",
    )
    assert sts["status"]["currentReplicas"] == 3


async def test_a_rollout_consults_no_budget(world: World, kubelet: Kubelet) -> None:
    before = await world.running_set()
    await world.budget(minAvailable=3)
    await world.until(lambda pdb: pdb["status"]["currentHealthy"] == 3, "poddisruptionbudgets", "pdb")
    await world.set_flag("existing")
    await world.until_replaced("etcd-0", before)


async def test_pods_below_the_partition_stay_and_come_back_as_they_were(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    before = await world.running_set(updateStrategy=strategy)
    await world.set_flag("existing")
    await world.until_replaced("etcd-2", before)
    await client.delete("pods", "etcd-0", world.namespace)
    again = await world.until_replaced("etcd-0", before)
    assert flag_of(again) == "new"
    assert restarted(before, await world.settled()) == {"etcd-0", "etcd-2"}


class TestTheRunbookAsWritten:
    """Flag, evict, flag back, with the update strategy left as it is."""

    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("failed", [0, 1])
    async def test_under_ordered_ready_the_failed_pod_holds_the_rollout_up(
        self, world: World, kubelet: Kubelet, failed: int, strategy: Json
    ) -> None:
        before = await set_with_failure(world, kubelet, failed, updateStrategy=strategy)
        await world.set_flag("existing")
        assert restarted(before, await world.settled()) == set()
        await world.set_flag("new")
        assert restarted(before, await world.settled()) == set()

    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize(
        ("failed", "healthy_restarts"), [(0, {"etcd-1", "etcd-2"}), (1, {"etcd-2"}), (2, set[str]())]
    )
    async def test_under_parallel_the_healthy_pods_above_restart_twice(
        self, world: World, kubelet: Kubelet, failed: int, healthy_restarts: set[str], strategy: Json
    ) -> None:
        name = f"etcd-{failed}"
        kinds = {"podManagementPolicy": "Parallel", "updateStrategy": strategy}
        before = await set_with_failure(world, kubelet, failed, **kinds)
        for flag in ("existing", "new"):
            await world.set_flag(flag)
            await world.until_replaced_with(flag, name, before)
            after = await world.settled()
            assert restarted(before, after) == healthy_restarts | {name}
            before = after

    @pytest.mark.parametrize(("failed", "comes_back_with"), [(0, "new"), (1, "new"), (2, "existing")])
    async def test_without_rolling_update_a_pod_comes_back_with_the_old_flag_below_current_replicas(
        self, world: World, client: KubeClient, kubelet: Kubelet, failed: int, comes_back_with: str
    ) -> None:
        before = await set_with_failure(world, kubelet, failed, updateStrategy=WRITTEN_OUT)
        await world.set_flag("existing")
        await world.settled()
        await evict_and_count(world, client, kubelet, f"etcd-{failed}")
        again = await world.until_replaced(f"etcd-{failed}", before)
        assert flag_of(again) == comes_back_with
        assert restarted(before, await world.settled()) == {f"etcd-{failed}"}

    @pytest.mark.parametrize("failed", ORDINALS)
    async def test_with_partition_zero_it_comes_back_with_the_new_flag(
        self, world: World, client: KubeClient, kubelet: Kubelet, failed: int
    ) -> None:
        before = await set_with_failure(world, kubelet, failed, updateStrategy=LEFT_OUT)
        await world.set_flag("existing")
        await world.settled()
        await client.evict(f"etcd-{failed}", world.namespace)
        again = await world.until_replaced(f"etcd-{failed}", before)
        assert flag_of(again) == "existing"
        assert restarted(before, await world.settled()) == {f"etcd-{failed}"}

    @pytest.mark.parametrize("failed", [0, 1])
    async def test_a_moment_of_readiness_costs_a_healthy_pod_for_good(
        self, world: World, client: KubeClient, kubelet: Kubelet, failed: int
    ) -> None:
        """How the runbook loses the quorum: the pod with the old flag is Ready until it finds itself removed."""
        name = f"etcd-{failed}"
        before = await set_with_failure(world, kubelet, failed, updateStrategy=WRITTEN_OUT)
        await world.set_flag("existing")
        await world.settled()
        kubelet.hung.add("etcd-2")
        kubelet.unready.discard(name)
        await client.evict(name, world.namespace)
        await world.until_replaced(name, before)
        await world.until(is_going, "pods", "etcd-2")
        await kubelet.fail(name)
        await client.delete("pods", "etcd-2", world.namespace, {"gracePeriodSeconds": 0})
        await world.until_gone("pods", "etcd-2", uid_of(before["etcd-2"]))
        assert "etcd-2" not in await world.settled()
        await world.set_flag("new")
        assert "etcd-2" not in await world.settled()

    @pytest.mark.parametrize("failed", [0, 1])
    async def test_with_partition_zero_and_a_member_that_joins_the_highest_pod_restarts_once(
        self, world: World, client: KubeClient, kubelet: Kubelet, failed: int
    ) -> None:
        name = f"etcd-{failed}"
        before = await set_with_failure(world, kubelet, failed, updateStrategy=LEFT_OUT)
        await world.set_flag("existing")
        await world.settled()
        kubelet.hung.add("etcd-2")
        kubelet.unready.discard(name)
        await client.evict(name, world.namespace)
        await world.until(is_going, "pods", "etcd-2")
        await world.set_flag("new")
        await world.settled()
        await client.delete("pods", "etcd-2", world.namespace, {"gracePeriodSeconds": 0})
        back = await world.until_replaced("etcd-2", before)
        assert flag_of(back) == "new"


class TestTheSafeWay:
    """Flag and OnDelete in one patch; only pods that somebody deletes come back changed."""

    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("failed", ORDINALS)
    async def test_only_the_replaced_pod_restarts(
        self, world: World, kubelet: Kubelet, failed: int, policy: str, strategy: Json
    ) -> None:
        name = f"etcd-{failed}"
        kinds = {"podManagementPolicy": policy, "updateStrategy": strategy}
        before = await set_with_failure(world, kubelet, failed, **kinds)
        await world.set_flag("existing", strategy={"type": "OnDelete"})
        assert restarted(before, await world.settled()) == set()
        await world.client.evict(name, world.namespace)
        again = await world.until_replaced(name, before)
        assert flag_of(again) == "existing"
        await kubelet.heal(name)
        joined = await world.settled()
        assert restarted(before, joined) == {name}
        await world.set_flag("new", strategy=strategy)
        last = await world.until_replaced(name, joined)
        assert flag_of(last) == "new"
        assert restarted(before, await world.settled()) == {name}
        await self.is_whole(world, strategy)

    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("policy", POLICIES)
    async def test_where_no_pod_differs_the_strategy_comes_back_without_a_restart(
        self, world: World, client: KubeClient, kubelet: Kubelet, policy: str, strategy: Json
    ) -> None:
        """The contract's order: flag back under OnDelete, our own restart, then the strategy."""
        kinds = {"podManagementPolicy": policy, "updateStrategy": strategy}
        before = await set_with_failure(world, kubelet, 1, **kinds)
        await world.set_flag("existing", strategy={"type": "OnDelete"})
        await world.settled()
        await client.evict("etcd-1", world.namespace)
        await world.until_replaced("etcd-1", before)
        await kubelet.heal("etcd-1")
        await world.set_flag("new", strategy={"type": "OnDelete"})
        joined = await world.settled()
        assert flag_of(joined["etcd-1"]) == "existing"
        await client.delete("pods", "etcd-1", world.namespace)
        assert flag_of(await world.until_replaced("etcd-1", joined)) == "new"
        steady = await world.settled()
        await world.set_flag("new", strategy=strategy)
        assert restarted(steady, await world.settled()) == set()
        await self.is_whole(world, strategy)

    @pytest.mark.parametrize("policy", POLICIES)
    async def test_taken_back_before_the_removal_the_controller_replaces_a_broken_pod_under_parallel_only(
        self, world: World, client: KubeClient, kubelet: Kubelet, policy: str
    ) -> None:
        before = await set_with_failure(world, kubelet, 1, podManagementPolicy=policy)
        await world.set_flag("existing", strategy={"type": "OnDelete"})
        await world.settled()
        await client.evict("etcd-1", world.namespace)
        wrong = await world.until_replaced("etcd-1", before)
        await world.set_flag("new", strategy=LEFT_OUT)
        if policy == "OrderedReady":
            stuck = (await world.settled())["etcd-1"]
            assert (uid_of(stuck), flag_of(stuck)) == (uid_of(wrong), "existing")
            await client.delete("pods", "etcd-1", world.namespace, {"preconditions": {"uid": uid_of(wrong)}})
        right = await world.until_replaced("etcd-1", {"etcd-1": wrong})
        assert flag_of(right) == "new"
        assert restarted(before, await world.settled()) == {"etcd-1"}

    async def is_whole(self, world: World, strategy: Json) -> None:
        sts = await world.until(
            lambda sts: sts["status"]["currentRevision"] == sts["status"]["updateRevision"],
            "statefulsets",
            "etcd",
        )
        assert sts["spec"]["updateStrategy"] == strategy
        revisions = {revision_of(pod) for pod in (await world.pods()).values()}
        assert revisions == {sts["status"]["updateRevision"]}
