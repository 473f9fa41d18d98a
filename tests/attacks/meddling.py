"""What other people and machines do while a replacement is under way, and two places where it waits for them.

Before the removal it waits where a budget of another user cluster blocks the drain. After it, where the node stays
cordoned for another replacement, so that the new member cannot start. Neither place depends on how fast anything is.
"""

from collections.abc import Callable
from typing import Any

from temporalio.client import WorkflowHandle

from lab.binaries import etcd_assets
from lab.models import LabReport
from lab.options import LabOptions
from replace_etcd.cluster import CONFIG_MAP, NODE, PDB, POD, STATEFUL_SET, Object, Patch
from replace_etcd.models.record import Record
from replace_etcd.models.result import Progress, ReplacementResult
from tests.e2e.conftest import NAMESPACE, Scene, replaced
from tests.e2e.test_never_worse import BLOCKING
from tests.lab.nodes.waiting import until

Handle = WorkflowHandle[Any, ReplacementResult]
NODE_OF_FAILED = "node-2"
ANOTHER = "replace-etcd/cordon.user-cluster-2"
RECORD = "kube-etcd-replacement"
ROLLING = {"type": "RollingUpdate"}
WITHIN = 240.0


def etcd_35(kubernetes: str = "simulated", pod_management: str = "OrderedReady") -> LabOptions:
    """A lab with an etcd whose new members join as learners."""
    etcd = next(folder for folder in etcd_assets() if folder.name.startswith("3.5."))
    return LabOptions.model_validate(
        {"etcd": etcd, "kubernetes": kubernetes, "pod_management": pod_management}
    )


async def into_the_drain(scene: Scene, **fields: Any) -> Handle:
    """A replacement that waits before the removal."""
    await scene.cluster.create(PDB, BLOCKING, "user-cluster-2")
    handle = await scene.start(**fields)
    await scene.reach(handle, "drain_node")
    return handle


async def let_it_drain(scene: Scene) -> None:
    """Nothing blocks the drain any more."""
    budget = await scene.cluster.get(PDB, "blocks-the-drain", "user-cluster-2")
    assert budget is not None
    await scene.cluster.delete(PDB, "blocks-the-drain", "user-cluster-2", uid=budget["metadata"]["uid"])


async def into_the_window(scene: Scene, node: str = NODE_OF_FAILED, **fields: Any) -> Handle:
    """A replacement whose member is removed, and whose new member is added and cannot start."""
    handle = await into_the_drain(scene, **fields)
    await annotate(scene, ANOTHER, "cordoned", node)
    await let_it_drain(scene)
    await scene.reach(handle, "promote_member")
    return handle


async def let_it_start(scene: Scene, node: str = NODE_OF_FAILED) -> None:
    """The other replacement gives the node up."""

    def change(found: Object) -> Patch:
        kept = {k: v for k, v in found["metadata"]["annotations"].items() if k != ANOTHER}
        return [
            {"op": "add", "path": "/metadata/annotations", "value": kept},
            {"op": "add", "path": "/spec/unschedulable", "value": False},
        ]

    await patch_node(scene, change, node)


async def annotate(scene: Scene, name: str, value: str | None, node: str = NODE_OF_FAILED) -> None:
    """Put an annotation on a node, or take it away."""

    def change(found: Object) -> Patch:
        kept = {k: v for k, v in (found["metadata"].get("annotations") or {}).items() if k != name}
        added = {} if value is None else {name: value}
        return [{"op": "add", "path": "/metadata/annotations", "value": kept | added}]

    await patch_node(scene, change, node)


async def patch_node(scene: Scene, change: Callable[[Object], Patch], node: str = NODE_OF_FAILED) -> None:
    """Somebody else's edit of a node."""
    found = await scene.cluster.get(NODE, node)
    assert found is not None
    await scene.cluster.patch(NODE, node, None, change(found))


async def edit(scene: Scene, path: str, value: object, op: str = "replace") -> None:
    """Somebody else's edit of the StatefulSet."""
    operation = {"op": op, "path": path, "value": value}
    await scene.cluster.patch(STATEFUL_SET, "kube-etcd", NAMESPACE, [operation])


async def stateful_set(scene: Scene) -> Object:
    """The StatefulSet as it is."""
    found = await scene.cluster.get(STATEFUL_SET, "kube-etcd", NAMESPACE)
    assert found is not None
    return found


async def restart_rollout(scene: Scene) -> None:
    """`kubectl rollout restart`."""
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    await edit(scene, "/spec/template/metadata/annotations", restarted, op="add")


async def upgrade(scene: Scene) -> None:
    """A new image, and an argument more."""
    await edit(scene, "/spec/template/spec/containers/0/image", "gcr.io/gke-on-prem-release/etcd:next")
    await edit(scene, "/spec/template/spec/containers/0/args/-", "--snapshot-count=50000", op="add")


async def undo_the_upgrade(scene: Scene, before: Object) -> None:
    """The template as it was before, and the strategy that it had: what `left` asks a person for."""
    await edit(scene, "/spec/template", before["spec"]["template"])
    await edit(scene, "/spec/updateStrategy", before["spec"]["updateStrategy"])


async def pod_uids(scene: Scene) -> dict[str, str]:
    """Every etcd pod and its uid."""
    pods = await scene.cluster.find(POD, NAMESPACE, labels="app=kube-etcd")
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


async def record_of(scene: Scene) -> Record:
    """The record as it stands."""
    found = await scene.cluster.get(CONFIG_MAP, RECORD, NAMESPACE)
    assert found is not None
    return Record.from_data(found["data"])


async def asked(scene: Scene, handle: Handle) -> Progress:
    """Wait until it waits for somebody's word."""

    async def asks() -> bool:
        return (await scene.progress(handle)).waiting_for is not None

    await until(asks, within=WITHIN)
    return await scene.progress(handle)


async def nothing_left(scene: Scene) -> None:
    """No record, no utility Pod, no annotation; every pod carries the flag of the template."""
    assert await scene.cluster.get(CONFIG_MAP, RECORD, NAMESPACE) is None
    for pod in await scene.cluster.find(POD, NAMESPACE):
        assert not pod["metadata"]["name"].startswith("etcd-utility")
    for node in await scene.cluster.find(NODE):
        ours = [k for k in node["metadata"].get("annotations") or {} if k.startswith("replace-etcd/")]
        assert not ours, node["metadata"]["name"]
    for pod in await scene.cluster.find(POD, NAMESPACE, labels="app=kube-etcd"):
        assert "--initial-cluster-state=new" in pod["spec"]["containers"][0]["args"], pod["metadata"]["name"]


def flag_in(pod: Object) -> str:
    """What a pod's own arguments say."""
    flag = "--initial-cluster-state="
    words: list[str] = pod["spec"]["containers"][0]["args"]
    return next(word.removeprefix(flag) for word in words if word.startswith(flag))


def replaced_though_survivors_restarted(
    result: ReplacementResult, report: LabReport, *, restarted: list[str]
) -> None:
    """The promise, but for survivors that somebody else restarted."""
    assert report.judgement.restarted == restarted
    judgement = report.judgement.model_copy(update={"survivor_restarts": 0})
    replaced(result, report.model_copy(update={"judgement": judgement}))


def flag_of(found: Object) -> str:
    """What the template of the StatefulSet says."""
    return flag_in(found["spec"]["template"])
