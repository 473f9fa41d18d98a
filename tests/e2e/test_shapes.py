"""Shapes of admin clusters met in the wild: each is carried out, judged like any other, or refused with a way out.

Many of them go together into the user clusters of cells.py, in every run; in `make test-full` each stands alone. Those
that are refused need only a plan, and share one lab.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lab.fixture.names import NODES, OTHER_NAMESPACE
from lab.fixture.shapes import SHAPES
from lab.kube_client import ApiError, KubeClient
from lab.options import LabOptions
from replace_etcd.models.plan import Plan, Verdict
from tests.e2e.cells import IN_COMMAND
from tests.e2e.conftest import NAMESPACE, REAL, replaced, scene_of
from tests.e2e.looking import Looking, looking
from tests.e2e.test_refusals import named, other_etcd, pod_on, refused, said_of, there_is

MARK = "replace-etcd/"
ETCD_PODS = {"matchLabels": {"app": "kube-etcd"}}


@pytest.mark.needs("time")
@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
@pytest.mark.parametrize(
    "shapes", [IN_COMMAND, *((name,) for name in SHAPES if name != "network-disks")], ids="+".join
)
async def test_a_shape_is_carried_out(tmp_path: Path, kubernetes: str, shapes: tuple[str, ...]) -> None:
    lab = LabOptions.model_validate({"kubernetes": kubernetes, "shapes": shapes})
    async with scene_of(lab, tmp_path) as scene:
        await scene.destroy()
        result = await scene.result(await scene.start())
        report = await scene.judgement()
    replaced(result, report)


@pytest.mark.parametrize(
    "kubernetes", ["simulated", pytest.param("real", marks=[*REAL.marks, pytest.mark.needs("time")])]
)
async def test_beside_others_and_under_a_budget_that_its_controller_makes_again(
    tmp_path: Path, kubernetes: str
) -> None:
    """Other user clusters, and a pod that nobody may evict, share the node; the budget has a controller of its own."""
    lab = LabOptions.model_validate({"kubernetes": kubernetes})
    async with AsyncExitStack() as stack:
        scene = await stack.enter_async_context(scene_of(lab, tmp_path))
        admin = await stack.enter_async_context(KubeClient.from_kubeconfig(scene.lab.kubeconfig))
        look = Looking(scene.lab, scene.cluster, admin)
        alone = pod_on(NODES[1], "alone", terminationGracePeriodSeconds=1)
        alone["metadata"]["labels"] = {"app": "alone"}
        never = {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "alone"}}}
        await stack.enter_async_context(other_etcd(look, OTHER_NAMESPACE, ready=True))
        await stack.enter_async_context(other_etcd(look, "default", ready=True))
        await stack.enter_async_context(there_is(look, "pods", alone, OTHER_NAMESPACE))
        await admin.create("poddisruptionbudgets", named("never") | {"spec": never}, OTHER_NAMESPACE)
        await stack.enter_async_context(made_again(admin))
        before = await others(admin)
        await scene.destroy()
        result = await scene.result(await scene.start(drain="replica"))
        report = await scene.judgement()
        assert await others(admin) == before
        budget = await admin.get("poddisruptionbudgets", "kube-etcd-pdb", NAMESPACE)
        assert not [key for key in budget["metadata"].get("annotations") or {} if key.startswith(MARK)]
    replaced(result, report)
    assert result.plan is not None
    assert "ConfigMap operator makes it" in said_of(result.plan, "PodDisruptionBudget")[1]


async def others(admin: KubeClient) -> dict[str, Any]:
    """Everything of other user clusters that a replacement could touch: which object it is, and how it should be."""
    found = {}
    for resource in ("pods", "statefulsets", "poddisruptionbudgets", "persistentvolumeclaims"):
        for namespace in (OTHER_NAMESPACE, "default"):
            for item in await admin.list(resource, namespace):
                metadata = item["metadata"]
                found[f"{resource}/{namespace}/{metadata['name']}"] = (metadata["uid"], item["spec"])
    return found


@asynccontextmanager
async def made_again(admin: KubeClient) -> AsyncIterator[None]:
    """A controller that owns the budget: makes it where it is missing, and puts its spec back where it differs."""
    operator = await admin.create("configmaps", named("operator"), NAMESPACE)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "operator", "controller": True}
    owner["uid"] = operator["metadata"]["uid"]
    wanted = named("kube-etcd-pdb", ownerReferences=[owner])
    wanted["spec"] = {"minAvailable": 2, "selector": ETCD_PODS}
    await admin.delete("poddisruptionbudgets", "kube-etcd-pdb", NAMESPACE)

    async def reconcile() -> None:
        while True:
            with suppress(ApiError):
                found = await admin.find("poddisruptionbudgets", "kube-etcd-pdb", NAMESPACE)
                if found is None:
                    await admin.create("poddisruptionbudgets", wanted, NAMESPACE)
                elif found["spec"] != wanted["spec"]:
                    patch = [{"op": "replace", "path": "/spec", "value": wanted["spec"]}]
                    await admin.patch("poddisruptionbudgets", "kube-etcd-pdb", patch, NAMESPACE)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(reconcile())
    async with asyncio.timeout(30):
        while await counted(admin) != 3:  # noqa: ASYNC110 - one object, some moments
            await asyncio.sleep(0.05)
    yield
    task.cancel()


async def counted(admin: KubeClient) -> int:
    """How many pods the budget's own controller has seen healthy."""
    found = await admin.find("poddisruptionbudgets", "kube-etcd-pdb", NAMESPACE) or {"status": {}}
    return int(found.get("status", {}).get("currentHealthy", 0))


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
async def test_a_shape_that_is_not_carried_out_is_refused(kubernetes: str) -> None:
    shapes = ("network-disks", "soft-anti-affinity", "on-delete")
    lab = LabOptions.model_validate({"kubernetes": kubernetes, "shapes": shapes})
    async with looking(lab) as look:
        await look.lab.destroy("kube-etcd-1", "corrupt-wal")
        own = (await look.admin.get("pods", "kube-etcd-1", NAMESPACE))["spec"]["nodeName"]
        await a_pod_that_could_start_elsewhere(look, own)
        await two_budgets(look)
        await a_secret_that_cannot_be_told(look)
        await a_pod_that_is_not_evicted(look, own)
        await an_admission_that_refuses(look)
        await a_node_that_somebody_has_cordoned(look, own)
        await a_rollout_under_way(look)
        await a_flag_that_an_edit_does_not_reach(look)


async def only(look: Looking, name: str, **fields: Any) -> str:
    """Nothing else refuses; returns the evidence and the way out."""
    plan: Plan = await look.plan(**fields)
    assert refused(plan) == {name}, plan.refusals
    (check,) = plan.refusals
    return f"{check.evidence} -> {check.way_out}"


async def cordon(look: Looking, node: str, *, to: bool) -> None:
    await look.admin.patch("nodes", node, {"spec": {"unschedulable": to}})


async def a_pod_that_could_start_elsewhere(look: Looking, own: str) -> None:
    """The way out is carried out as it is written, and works; it stays for the rest."""
    others = [node for node in NODES if node != own]
    said = await only(look, "start elsewhere")
    assert f"could start on {', '.join(others)}; its anti-affinity is no requirement" in said
    assert f"kubectl cordon {' '.join(others)}" in said
    for node in others:
        await cordon(look, node, to=True)
    plan = await look.plan()
    assert plan.pins is not None, plan.refusals
    assert plan.pins.update_strategy == {"type": "OnDelete"}


async def two_budgets(look: Looking) -> None:
    second = named("second") | {"spec": {"minAvailable": 1, "selector": ETCD_PODS}}
    async with there_is(look, "poddisruptionbudgets", second, NAMESPACE):
        said = await only(look, "eviction under the budget")
    assert "more than one PodDisruptionBudget" in said
    assert "delete the one that is too much" in said
    neighbours = {"matchLabels": {"app": "kube-apiserver"}}  # one on each node, with a budget already
    second = named("second") | {"spec": {"minAvailable": 0, "selector": neighbours}}
    async with there_is(look, "poddisruptionbudgets", second, NAMESPACE):
        assert "drain: replica" in await only(look, "drain")


async def a_secret_that_cannot_be_told(look: Looking) -> None:
    plan = await look.plan({"certificates_secret_prefix": "etcd-"})
    assert refused(plan) == {"certificates Secret"}
    assert "0 Secrets start with etcd-: none" in said_of(plan, "certificates Secret")[1]
    async with AsyncExitStack() as stack:
        for name in ("etcd-one", "etcd-two"):
            await stack.enter_async_context(there_is(look, "secrets", named(name), NAMESPACE))
        plan = await look.plan({"certificates_secret_prefix": "etcd-"})
    assert "2 Secrets start with etcd-: etcd-one, etcd-two" in said_of(plan, "certificates Secret")[1]


async def a_pod_that_is_not_evicted(look: Looking, own: str) -> None:
    alone = pod_on(own, "alone", terminationGracePeriodSeconds=1)
    async with there_is(look, "pods", alone, OTHER_NAMESPACE):
        said = await only(look, "drain")
        assert (await look.plan(drain="replica")).pins is not None
    assert "alone: no controller would bring it back" in said


async def an_admission_that_refuses(look: Looking) -> None:
    """A utility Pod of another name's image is the runbook's; what refuses it here is its own name."""
    plan = await look.plan({"utility_name_prefix": "Not_A_Name"})
    assert refused(plan) == {"admission of the utility Pod"}
    assert "metadata.name" in said_of(plan, "admission of the utility Pod")[1]


async def a_node_that_somebody_has_cordoned(look: Looking, own: str) -> None:
    await cordon(look, own, to=True)
    assert f"kubectl uncordon {own}" in await only(look, "no cordon")
    assert (await look.admin.get("nodes", own))["spec"]["unschedulable"] is True
    await cordon(look, own, to=False)


async def a_rollout_under_way(look: Looking) -> None:
    """Under `OnDelete` no pod moves, so that every pod is behind."""
    edit = {"spec": {"template": {"metadata": {"annotations": {"rolled": "out"}}}}}
    await look.admin.patch("statefulsets", "kube-etcd", edit, NAMESPACE)
    async with asyncio.timeout(30):
        while not await behind(look):  # noqa: ASYNC110 - one object, some moments
            await asyncio.sleep(0.05)
    said = await only(look, "no rollout")
    assert "kube-etcd-0, kube-etcd-1, kube-etcd-2" in said
    back = [{"op": "remove", "path": "/spec/template/metadata/annotations"}]
    await look.admin.patch("statefulsets", "kube-etcd", back, NAMESPACE)
    async with asyncio.timeout(30):
        while await behind(look):  # noqa: ASYNC110 - one object, some moments
            await asyncio.sleep(0.05)


async def behind(look: Looking) -> bool:
    status = (await look.admin.get("statefulsets", "kube-etcd", NAMESPACE))["status"]
    pods = await look.admin.list("pods", NAMESPACE)
    revisions = {
        pod["metadata"]["labels"]["controller-revision-hash"]
        for pod in pods
        if pod["metadata"]["name"].startswith("kube-etcd-")
    }
    return revisions != {status["updateRevision"]}


async def a_flag_that_an_edit_does_not_reach(look: Looking) -> None:
    """Nothing is edited where it would not be seen by etcd: the new member would start with `new`."""
    found = await look.admin.get("statefulsets", "kube-etcd", NAMESPACE)
    args: list[str] = found["spec"]["template"]["spec"]["containers"][0]["args"]
    without = [word for word in args if "initial-cluster-state" not in word]
    twice = ["--initial-cluster-state=existing", *args]
    for words, expected in (
        ([*args, "--config-file=/etc/etcd/etcd.yaml"], "has etcd ignore flags"),
        ([*without, "--initial-cluster-state=$(STATE)"], "neither new nor existing"),
        (without, "neither in args, command nor ETCD_INITIAL_CLUSTER_STATE"),
        (twice, "stands in 2 places"),
    ):
        path = "/spec/template/spec/containers/0/args"
        await look.admin.patch(
            "statefulsets", "kube-etcd", [{"op": "replace", "path": path, "value": words}], NAMESPACE
        )
        said = await only(look, "flag --initial-cluster-state")
        assert expected in said
        assert "OnDelete" in said
    assert said_of(await look.plan(), "flag --initial-cluster-state")[0] is Verdict.REFUSE
