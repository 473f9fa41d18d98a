"""The budget: backed up, taken away, replaced by a stricter one, and back exactly as it was."""

import pytest

from activities.pod_disruption_budget import PodDisruptionBudgetActivities
from replace_etcd.cluster import PDB, Object
from replace_etcd.errors import Moved
from replace_etcd.models.orders import Order, PdbOrder
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup
from tests.activities.conftest import Bench

ORIGINAL = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "kube-etcd-pdb", "labels": {"team": "a"}, "annotations": {"note": "kept"}},
    "spec": {
        "minAvailable": 2,
        "selector": {"matchLabels": {"app": "kube-etcd"}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    },
}


async def budget(bench: Bench) -> Object | None:
    return await bench.cluster.get(PDB, "kube-etcd-pdb", bench.pins.user_cluster)


async def with_budget(bench: Bench) -> tuple[PodDisruptionBudgetActivities, Backup]:
    """A bench whose budget is pinned and backed up."""
    made = await bench.cluster.create(PDB, ORIGINAL, bench.pins.user_cluster)
    bench.pins = bench.pins.model_copy(update={"pdb_uid": made["metadata"]["uid"]})
    await bench.claim()
    activities = PodDisruptionBudgetActivities(bench.tools)
    backed_up = await bench.run(activities.back_up_pod_disruption_budget, bench.order(Order))
    return activities, backed_up.backup


def as_it_was(found: Object | None) -> bool:
    assert found is not None
    metadata = found["metadata"]
    return bool(
        found["spec"] == ORIGINAL["spec"]
        and metadata["labels"] == {"team": "a"}
        and metadata["annotations"] == {"note": "kept"}
    )


async def test_it_goes_and_comes_back_as_it_was_and_each_step_can_be_repeated(bench: Bench) -> None:
    activities, backup = await with_budget(bench)
    for _ in range(2):
        await bench.run(activities.delete_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
        assert await budget(bench) is None
    for _ in range(2):
        await bench.run(activities.protect_survivors, bench.order(PdbOrder, backup=backup))
        strict = await budget(bench)
        assert strict is not None
        assert strict["spec"] == {"maxUnavailable": 0, "selector": ORIGINAL["spec"]["selector"]}  # type: ignore[index]
    for _ in range(2):
        done = await bench.run(activities.restore_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
        assert as_it_was(await budget(bench))
        assert done.left == []


async def test_a_budget_that_was_kept_is_the_same_object_afterwards(bench: Bench) -> None:
    activities, backup = await with_budget(bench)
    await bench.run(activities.protect_survivors, bench.order(PdbOrder, backup=backup))
    strict = await budget(bench)
    assert strict is not None
    assert strict["spec"]["maxUnavailable"] == 0
    await bench.run(activities.restore_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    found = await budget(bench)
    assert as_it_was(found)
    assert found is not None
    assert found["metadata"]["uid"] == bench.pins.pdb_uid


async def test_it_comes_back_where_nothing_stands_in_its_place(bench: Bench) -> None:
    activities, backup = await with_budget(bench)
    await bench.run(activities.delete_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    await bench.run(activities.restore_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    assert as_it_was(await budget(bench))


async def test_a_budget_that_changed_since_the_backup_is_not_deleted(bench: Bench) -> None:
    activities, backup = await with_budget(bench)
    edit = {"op": "replace", "path": "/spec/minAvailable", "value": 1}
    await bench.cluster.patch(PDB, "kube-etcd-pdb", bench.pins.user_cluster, [edit])
    with pytest.raises(Moved, match="has changed"):
        await bench.run(activities.delete_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    assert await budget(bench) is not None


async def test_somebody_elses_budget_is_left_and_reported(bench: Bench) -> None:
    activities, backup = await with_budget(bench)
    await bench.run(activities.delete_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    theirs = ORIGINAL | {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "kube-etcd"}}}}
    await bench.cluster.create(PDB, theirs, bench.pins.user_cluster)
    await bench.run(activities.protect_survivors, bench.order(PdbOrder, backup=backup))
    done = await bench.run(activities.restore_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    found = await budget(bench)
    assert found is not None
    assert found["spec"]["maxUnavailable"] == 1
    assert "left as it is" in done.left[0]


async def test_where_there_was_none_the_temporary_one_goes_again(bench: Bench) -> None:
    await bench.claim()
    activities = PodDisruptionBudgetActivities(bench.tools)
    backed_up = await bench.run(activities.back_up_pod_disruption_budget, bench.order(Order))
    assert backed_up.backup.manifest is None
    await bench.run(activities.protect_survivors, bench.order(PdbOrder, backup=backed_up.backup))
    assert await budget(bench) is not None
    order = bench.order(PdbOrder, backup=backed_up.backup)
    done = await bench.run(activities.restore_pod_disruption_budget, order)
    assert await budget(bench) is None
    assert "apply its backup" in done.left[0], "a person may have it from step 2 of the runbook"
    await bench.cluster.create(PDB, ORIGINAL, bench.pins.user_cluster)
    done = await bench.run(
        activities.restore_pod_disruption_budget, bench.order(PdbOrder, backup=backed_up.backup)
    )
    assert (await budget(bench) is not None, done.left) == (True, []), "the person has applied it"


async def test_an_owner_that_is_gone_is_not_named_again(bench: Bench) -> None:
    """A reference that points nowhere would have the garbage collector delete the budget at once."""
    activities, backup = await with_budget(bench)
    await bench.run(activities.delete_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    sts = await bench.stateful_set()
    living = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "kube-etcd",
        "uid": sts["metadata"]["uid"],
    }
    gone = living | {"name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}
    assert backup.manifest is not None
    metadata = backup.manifest["metadata"] | {"ownerReferences": [living, gone]}
    owned = Backup(manifest=backup.manifest | {"metadata": metadata})
    await bench.run(activities.restore_pod_disruption_budget, bench.order(PdbOrder, backup=owned))
    found = await budget(bench)
    assert found is not None
    assert [owner["name"] for owner in found["metadata"]["ownerReferences"]] == ["kube-etcd"]


async def test_a_run_that_was_reset_to_before_the_backup_has_what_its_predecessor_wrote_down(
    bench: Bench,
) -> None:
    activities, backup = await with_budget(bench)
    await bench.run(activities.delete_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    again = await bench.run(activities.back_up_pod_disruption_budget, bench.order(Order))
    assert again.backup == backup
    await bench.run(activities.restore_pod_disruption_budget, bench.order(PdbOrder, backup=again.backup))
    assert as_it_was(await budget(bench))


async def test_without_a_backup_in_the_order_the_one_in_the_record_comes_back(bench: Bench) -> None:
    """An heir that is stopped before its own backup has none to give where its plan knew of none."""
    activities, backup = await with_budget(bench)
    await bench.run(activities.delete_pod_disruption_budget, bench.order(PdbOrder, backup=backup))
    order = bench.order(PdbOrder, Phase.ROLLING_BACK, backup=Backup())
    await bench.run(activities.restore_pod_disruption_budget, order)
    assert as_it_was(await budget(bench))


async def test_a_budget_that_somebody_deletes_before_the_backup_stops_the_run(bench: Bench) -> None:
    made = await bench.cluster.create(PDB, ORIGINAL, bench.pins.user_cluster)
    bench.pins = bench.pins.model_copy(update={"pdb_uid": made["metadata"]["uid"]})
    await bench.claim()
    await bench.cluster.delete(PDB, "kube-etcd-pdb", bench.pins.user_cluster, uid=made["metadata"]["uid"])
    with pytest.raises(Moved, match="another one than in the plan"):
        await bench.run(
            PodDisruptionBudgetActivities(bench.tools).back_up_pod_disruption_budget, bench.order(Order)
        )
