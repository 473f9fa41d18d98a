"""What the worker sees of itself, on a real API: whole, and where something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.doctor import DoctorActivities
from activities.step import Toolbox
from replace_etcd.cluster import AdminCluster
from replace_etcd.models.diagnosis import Diagnosed, DiagnosisRequest
from replace_etcd.models.plan import Check, Verdict
from replace_etcd.settings import Settings
from tests.activities.conftest import IDENTITY, Bench
from tests.activities.test_rights import worker
from tests.lab.world import World

__all__ = ["worker"]


async def diagnosed(
    bench: Bench, cluster: AdminCluster, user_cluster: str | None, **settings: object
) -> dict[str, Check]:
    tools = Toolbox(cluster, Settings.model_validate(settings), IDENTITY, bench.tools.runs)
    request = DiagnosisRequest(user_cluster=user_cluster)
    seen: Diagnosed = await ActivityEnvironment().run(DoctorActivities(tools).diagnose, request)
    assert seen.host
    return {check.name: check for check in seen.checks}


async def test_a_worker_that_may_everything(bench: Bench, world: World, tmp_path: Path) -> None:
    seen = await diagnosed(
        bench, bench.cluster, world.namespace, snapshot_dir=tmp_path, utility_image="etcd-util:1.28"
    )
    refused = [check for check in seen.values() if check.verdict is Verdict.REFUSE]
    assert refused == []
    assert "--initial-cluster-state=new" in seen["etcd"].evidence
    assert seen["PodDisruptionBudget"].verdict is Verdict.WARN  # there is none on this bench
    assert seen["snapshots"].verdict is Verdict.OK
    assert seen["utility image"].verdict is Verdict.OK


async def test_a_worker_without_rights_names_what_is_missing(
    bench: Bench, world: World, worker: AdminCluster
) -> None:
    seen = await diagnosed(bench, worker, world.namespace, snapshot_dir="/no/such/place")
    for name in (
        "permissions, everywhere",
        f"permissions, {world.namespace}",
        "stop",
        "user cluster",
        "snapshots",
    ):
        assert seen[name].verdict is Verdict.REFUSE, name
        assert seen[name].way_out
    assert "patch nodes" in seen["permissions, everywhere"].evidence
    assert "create pods/exec" in seen[f"permissions, {world.namespace}"].evidence
    assert seen["utility image"].verdict is Verdict.WARN


@pytest.mark.parametrize("setting", ["stateful_set", "container"])
async def test_a_setting_that_does_not_fit_is_named(bench: Bench, world: World, setting: str) -> None:
    seen = await diagnosed(bench, bench.cluster, world.namespace, **{setting: "other"})
    assert seen["etcd"].verdict is Verdict.REFUSE
    assert f"REPLACE_ETCD_{setting.upper()}" in seen["etcd"].way_out
