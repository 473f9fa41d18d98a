"""What the preflight says of a real cluster, and that looking changes nothing."""

from pathlib import Path

from lab.options import LabOptions
from replace_etcd.cluster import NODE, PDB, POD, STATEFUL_SET
from replace_etcd.models.plan import Verdict
from replace_etcd.models.result import Outcome, ReplacementResult
from tests.e2e.conftest import NAMESPACE, Scene, scene_of


async def versions(scene: Scene) -> dict[str, str]:
    """The state of everything that a replacement could change, by resourceVersion or spec."""
    found = {}
    for kind in (STATEFUL_SET, PDB):
        for item in await scene.cluster.find(kind, NAMESPACE):
            found[f"{kind.kind}/{item['metadata']['name']}"] = str(item["spec"])
    for item in await scene.cluster.find(POD, NAMESPACE):
        found[item["metadata"]["name"]] = item["metadata"]["uid"]
    for item in await scene.cluster.find(NODE):
        found[item["metadata"]["name"]] = f"{item['spec']} {item['metadata'].get('annotations')}"
    return found


async def refusal(scene: Scene, **fields: object) -> dict[str, str]:
    """The checks that refuse a request, with their evidence."""
    result: ReplacementResult = await scene.result(await scene.start(**fields))
    assert result.outcome is Outcome.REFUSED, result.outcome
    assert result.plan is not None
    assert all(check.way_out for check in result.plan.refusals)
    return {check.name: check.evidence for check in result.plan.refusals}


async def test_looking_changes_nothing_and_refusals_name_their_evidence(tmp_path: Path) -> None:
    async with scene_of(LabOptions(), tmp_path) as scene:
        before = await versions(scene)
        assert "failed: none" in (await refusal(scene))["exactly one failed member"]
        assert "no-such-cluster" in (await refusal(scene, user_cluster="no-such-cluster"))["StatefulSet"]
        await scene.destroy("kube-etcd-1", "corrupt-wal")

        assert (
            "kube-etcd-2 answers" in (await refusal(scene, failed_replica="kube-etcd-2"))["the named replica"]
        )
        assert "not on node-9" in (await refusal(scene, node="node-9"))["node"]

        planned = await scene.result(await scene.start(dry_run=True))
        assert planned.outcome is Outcome.PLANNED
        assert planned.plan is not None
        assert planned.plan.pins is not None
        assert planned.plan.pins.replica == "kube-etcd-1"
        assert {check.verdict for check in planned.plan.checks} <= {Verdict.OK, Verdict.WARN}
        evicted = {pod.name for pod in planned.plan.drained if pod.evict}
        kept = {pod.name: pod.reason for pod in planned.plan.drained if not pod.evict}
        assert any(name.startswith("kube-apiserver-") for name in evicted)
        assert "DaemonSet pod" in kept.values()
        assert not any(name.startswith("kube-etcd-") for name in evicted)
        assert any("keep would be possible" in check.evidence for check in planned.plan.checks)

        await scene.lab.destroy("kube-etcd-2", "corrupt-db")  # wiped, it may rejoin under its old id
        assert "the quorum is lost" in (await refusal(scene))["exactly one failed member"]
        after = await versions(scene)
    assert after == before
