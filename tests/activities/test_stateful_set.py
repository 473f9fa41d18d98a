"""Flag and update strategy: changed in one patch, and back exactly as they were."""

import pytest

from activities.node import NodeActivities
from activities.restart import RestartActivities
from activities.stateful_set import StatefulSetActivities, flag_in_pod, flag_of, must_stand
from replace_etcd.cluster import POD, STATEFUL_SET
from replace_etcd.errors import LockLost, Moved
from replace_etcd.models.orders import Order
from replace_etcd.models.phase import Phase
from replace_etcd.pod_template import template_digest
from tests.activities.conftest import Bench
from tests.lab.world import World

NEW, EXISTING = "--initial-cluster-state=new", "--initial-cluster-state=existing"


async def state(bench: Bench) -> tuple[str | None, object]:
    found = await bench.stateful_set()
    return flag_of(found, bench.pins), found["spec"]["updateStrategy"]


async def edit(bench: Bench, path: str, value: object) -> None:
    """Somebody else's edit."""
    operation = {"op": "replace", "path": path, "value": value}
    await bench.cluster.patch(STATEFUL_SET, "kube-etcd", bench.pins.user_cluster, [operation])


async def test_both_change_and_each_step_can_be_repeated(bench: Bench) -> None:
    await bench.claim()
    activities = StatefulSetActivities(bench.tools)
    for _ in range(2):
        await bench.run(activities.join_existing_on_delete, bench.order(Order))
        assert await state(bench) == (EXISTING, {"type": "OnDelete"})
    await must_stand(bench.tools, bench.pins)
    for _ in range(2):
        await bench.run(activities.restore_initial_cluster_state, bench.order(Order))
        assert await state(bench) == (NEW, {"type": "OnDelete"})


@pytest.mark.parametrize(
    ("path", "value"),
    [("/spec/template/spec/containers/0/args/1", EXISTING), ("/spec/updateStrategy", {"type": "OnDelete"})],
)
async def test_one_of_the_two_may_be_there_from_a_runbook_half_done(
    bench: Bench, path: str, value: object
) -> None:
    await bench.claim()
    await edit(bench, path, value)
    await bench.run(StatefulSetActivities(bench.tools).join_existing_on_delete, bench.order(Order))
    assert await state(bench) == (EXISTING, {"type": "OnDelete"})


async def test_a_strategy_without_rolling_update_stays_without_it(bench: Bench) -> None:
    await bench.claim()
    activities = StatefulSetActivities(bench.tools)
    assert (await state(bench))[1] == {"type": "RollingUpdate"}
    await bench.run(activities.join_existing_on_delete, bench.order(Order))
    await bench.run(activities.restore_flag_and_strategy, bench.order(Order, Phase.ROLLING_BACK))
    assert await state(bench) == (NEW, {"type": "RollingUpdate"})


async def test_an_edit_that_somebody_reverts_is_noticed(bench: Bench) -> None:
    await bench.claim()
    activities = StatefulSetActivities(bench.tools)
    await bench.run(activities.join_existing_on_delete, bench.order(Order))
    await edit(bench, "/spec/updateStrategy", {"type": "RollingUpdate"})
    with pytest.raises(Moved, match="reverted"):
        await must_stand(bench.tools, bench.pins)


async def test_a_template_that_is_not_the_one_of_the_plan_is_not_touched(bench: Bench) -> None:
    await bench.claim()
    await edit(bench, "/spec/template/spec/containers/0/args/1", "--initial-cluster-state=other")
    with pytest.raises(Moved, match="somebody else"):
        await bench.run(StatefulSetActivities(bench.tools).join_existing_on_delete, bench.order(Order))
    assert (await state(bench))[1] == {"type": "RollingUpdate"}


async def test_the_compensation_moves_the_version_even_where_nothing_was_changed(bench: Bench) -> None:
    """A late first patch tests the resourceVersion: so it must not be the one that the patch has read."""
    await bench.claim()
    before = await bench.stateful_set()
    late = bench.order(Order)
    activities = StatefulSetActivities(bench.tools)
    await bench.run(activities.restore_flag_and_strategy, bench.order(Order, Phase.ROLLING_BACK))
    after = await bench.stateful_set()
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert (after["spec"], after["metadata"].get("annotations") or {}) == (before["spec"], {})
    with pytest.raises(LockLost):
        await bench.run(activities.join_existing_on_delete, late)
    assert await state(bench) == (NEW, {"type": "RollingUpdate"})


async def test_a_flag_that_somebody_else_changed_is_left_and_reported(bench: Bench, world: World) -> None:
    await bench.claim()
    await world.until_pods(lambda pods: "kube-etcd-0" in pods)
    activities = StatefulSetActivities(bench.tools)
    await bench.run(activities.join_existing_on_delete, bench.order(Order))
    await edit(bench, "/spec/template/spec/containers/0/args/1", "--initial-cluster-state=other")
    done = await bench.run(activities.restore_flag_and_strategy, bench.order(Order, Phase.ROLLING_BACK))
    assert await state(bench) == ("--initial-cluster-state=other", {"type": "OnDelete"})
    assert "changed by somebody else" in done.left[0]
    assert "a rollout would restart kube-etcd-0" in done.left[1]


async def test_a_stateful_set_that_was_made_anew_makes_the_compensation_moot(bench: Bench) -> None:
    await bench.claim()
    bench.pins = bench.pins.model_copy(update={"stateful_set_uid": "another"})
    activities = StatefulSetActivities(bench.tools)
    done = await bench.run(activities.restore_flag_and_strategy, bench.order(Order, Phase.ROLLING_BACK))
    assert done.note.startswith("moot")


async def test_where_nothing_would_bring_the_pod_back_replacing_it_is_moot(bench: Bench) -> None:
    await bench.claim()
    await edit(bench, "/spec/replicas", 1)  # the failed replica is kube-etcd-1
    restart = RestartActivities(bench.tools)
    done = await bench.run(restart.replace_pod_with_wrong_flag, bench.order(Order, Phase.ROLLING_BACK))
    assert done.note.startswith("moot")


async def test_a_successor_that_would_carry_the_flag_of_somebody_else_is_not_waited_for(bench: Bench) -> None:
    await bench.claim()
    await edit(bench, "/spec/replicas", 3)
    await edit(bench, "/spec/template/spec/containers/0/args/1", "--initial-cluster-state=other")
    restart = RestartActivities(bench.tools)
    bench.pins = bench.pins.model_copy(update={"replica": "kube-etcd-2", "ordinal": 2})
    done = await bench.run(restart.replace_pod_with_wrong_flag, bench.order(Order, Phase.ROLLING_BACK))
    assert "its successor would carry --initial-cluster-state=other" in done.left[0]


async def test_no_pod_is_waited_for_that_cannot_be_made(bench: Bench, world: World) -> None:
    """Its claim is being deleted, and the utility Pod, which holds the volume, goes last."""
    await bench.claim()
    await edit(bench, "/spec/replicas", 3)
    claim = world.claim(bench.pins.claim)
    claim["metadata"]["finalizers"] = ["example.com/held"]
    await world.create("persistentvolumeclaims", claim)
    await world.client.delete("persistentvolumeclaims", bench.pins.claim, world.namespace)
    restart, node = RestartActivities(bench.tools), NodeActivities(bench.tools)
    await bench.run(node.wait_until_failed_pod_is_gone, bench.order(Order, Phase.DRAINING))
    done = await bench.run(restart.replace_pod_with_wrong_flag, bench.order(Order, Phase.ROLLING_BACK))
    assert "is being deleted" in done.note
    released = {"metadata": {"finalizers": None}}
    await world.client.patch("persistentvolumeclaims", bench.pins.claim, released, world.namespace)


async def test_a_survivor_that_was_re_created_is_not_restarted_by_the_rollback(
    bench: Bench, world: World
) -> None:
    """It carries `existing`: with the strategy back, the controller would restart it while a member is down."""
    await bench.claim()
    activities = StatefulSetActivities(bench.tools)
    await world.until_pods(lambda pods: "kube-etcd-0" in pods)
    await bench.run(activities.join_existing_on_delete, bench.order(Order))
    pod = await bench.cluster.get(POD, "kube-etcd-0", bench.pins.user_cluster)
    assert pod is not None
    await bench.cluster.delete(
        POD, "kube-etcd-0", bench.pins.user_cluster, uid=pod["metadata"]["uid"], grace=0
    )
    await world.until_pods(lambda pods: flag_in_pod(pods.get("kube-etcd-0", {}), bench.pins) == EXISTING)
    done = await bench.run(activities.restore_flag_and_strategy, bench.order(Order, Phase.ROLLING_BACK))
    assert await state(bench) == (NEW, {"type": "OnDelete"})
    assert "kube-etcd-0" in done.left[0]


async def test_another_edit_of_the_template_is_noticed(bench: Bench) -> None:
    """A rollout restart, or an upgrade: before the removal it means roll back."""
    await bench.claim()
    before = await bench.stateful_set()
    digest = template_digest(before, bench.pins.flag)
    bench.pins = bench.pins.model_copy(update={"template_digest": digest})
    activities = StatefulSetActivities(bench.tools)
    await bench.run(activities.join_existing_on_delete, bench.order(Order))
    await must_stand(bench.tools, bench.pins)
    await edit(bench, "/spec/template/spec/containers/0/image", "etcd:next")
    with pytest.raises(Moved, match="a rollout or an upgrade"):
        await must_stand(bench.tools, bench.pins)


async def test_a_rollout_of_somebody_else_is_not_set_off_by_the_rollback(bench: Bench, world: World) -> None:
    await bench.claim()
    activities = StatefulSetActivities(bench.tools)
    await world.until_pods(lambda pods: "kube-etcd-0" in pods)
    await bench.run(activities.join_existing_on_delete, bench.order(Order))
    await edit(bench, "/spec/template/spec/containers/0/image", "etcd:next")
    done = await bench.run(activities.restore_flag_and_strategy, bench.order(Order, Phase.ROLLING_BACK))
    assert await state(bench) == (NEW, {"type": "OnDelete"})
    assert "a rollout would restart kube-etcd-0" in done.left[0]
