"""The choreography when all goes well: the contract's order, and what the options change in it."""

from datetime import datetime

from replace_etcd.models.orders import Preflighted
from replace_etcd.models.result import Outcome
from tests.workflows.conftest import Stage
from tests.workflows.script import PINS, PLAN

MAKE_ROOM = [
    "preflight",
    "claim_replacement_record",
    "take_node",
    "back_up_pod_disruption_budget",
    "join_existing_on_delete",
    "cordon_node",
    "create_utility_pod",
    "watch_failed_member",
    "delete_pod_disruption_budget",
    "evict_failed_pod",
    "protect_survivors",
    "drain_node",
    "wait_until_failed_pod_is_gone",
    "take_snapshot",
]
JOIN = [
    "remove_member",
    "clean_data_directory",
    "delete_utility_pod",
    "add_member",
    "uncordon_node",
    "promote_member",
    "wait_for_voter",
]
RESTORE = [
    "restore_initial_cluster_state",
    "restart_replaced_pod",
    "restore_update_strategy",
    "restore_pod_disruption_budget",
    "verify_replacement",
    "delete_replacement_record",
]


async def test_the_steps_come_in_the_order_of_the_contract(stage: Stage) -> None:
    result = await stage.run()
    assert stage.script.calls == MAKE_ROOM + JOIN + RESTORE
    assert result.outcome is Outcome.REPLACED
    assert (result.old_member_id, result.new_member_id) == ("b1", "b2")
    assert [step.name for step in result.steps] == stage.script.calls
    assert result.restored == [
        "delete_utility_pod",
        "uncordon_node",
        "restore_initial_cluster_state",
        "restore_update_strategy",
        "restore_pod_disruption_budget",
        "delete_replacement_record",
    ]
    assert all(step.attempts == 1 and step.started_at and step.finished_at for step in result.steps)


async def test_a_budget_that_is_kept_is_not_deleted(stage: Stage) -> None:
    await stage.run(pod_disruption_budget="keep")
    expected = MAKE_ROOM + JOIN + RESTORE
    expected.remove("watch_failed_member")  # it is watched in the eviction's own step then
    expected.remove("delete_pod_disruption_budget")
    assert stage.script.calls == expected


async def test_the_eviction_knows_until_when_the_member_was_seen_to_fail(stage: Stage) -> None:
    result = await stage.run()
    (seen,) = (step.finished_at for step in result.steps if step.name == "watch_failed_member")
    told = stage.script.orders["evict_failed_pod"]["seen_to_fail_at"]
    assert datetime.fromisoformat(told) == seen
    await stage.run(pod_disruption_budget="keep")
    assert stage.script.orders["evict_failed_pod"]["seen_to_fail_at"] is None


async def test_on_the_way_forward_the_node_stays_ours_until_the_last_restart(stage: Stage) -> None:
    await stage.run()
    assert stage.script.orders["uncordon_node"]["keeps_it"]


async def test_draining_the_replica_moves_no_other_pod(stage: Stage) -> None:
    await stage.run(drain="replica")
    assert "drain_node" not in stage.script.calls
    assert "evict_failed_pod" in stage.script.calls


async def test_the_failed_replica_may_be_left_out(stage: Stage) -> None:
    result = await stage.run({"user_cluster": "user-cluster-1"})
    assert result.replica == "kube-etcd-1"


async def test_every_order_is_numbered_and_names_its_phase(stage: Stage) -> None:
    handle = await stage.start()
    await handle.result()
    fences = [stage.script.orders[name]["fence"] for name in stage.script.calls[1:]]
    assert [fence["generation"] for fence in fences] == list(range(1, len(fences) + 1))
    assert {fence["first_run_id"] for fence in fences} == {handle.first_execution_run_id}
    assert stage.script.orders["cordon_node"]["fence"]["phase"] == "draining"
    assert stage.script.orders["add_member"]["fence"]["phase"] == "adding"


async def test_the_wipe_names_the_utility_pod_that_was_seen(stage: Stage) -> None:
    await stage.run()
    order = stage.script.orders["clean_data_directory"]
    assert (order["utility_uid"], order["member_inode"]) == ("uid-utility", "7")


async def test_a_volume_for_one_pod_at_a_time_is_mounted_after_the_eviction(stage: Stage) -> None:
    exclusive = PLAN.model_copy(update={"pins": PINS.model_copy(update={"claim_is_exclusive": True})})
    stage.script.answers["preflight"] = Preflighted(plan=exclusive)
    await stage.run()
    calls = stage.script.calls
    assert calls.index("evict_failed_pod") < calls.index("create_utility_pod") < calls.index("remove_member")
    assert calls.count("create_utility_pod") == 1
