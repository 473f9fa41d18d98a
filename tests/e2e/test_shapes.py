"""Shapes of admin clusters met in the wild: each is carried out, judged like any other, or refused with a way out.

Many of them go together into the user clusters of cells.py, in CI; in `make test-full` each stands alone. Those
that are refused need only a plan, and share one lab.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lab.fixture.names import NODES, OTHER_NAMESPACE
from lab.fixture.shapes import SHAPES
from lab.kube_client import ApiError, KubeClient
from lab.options import LabOptions
from replace_etcd.models.plan import Plan
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
    await until(lambda: counted(admin))
    yield
    task.cancel()


async def counted(admin: KubeClient) -> bool:
    """Whether the disruption controller has seen all pods healthy."""
    found = await admin.find("poddisruptionbudgets", "kube-etcd-pdb", NAMESPACE) or {"status": {}}
    return bool(found.get("status", {}).get("currentHealthy") == 3)


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
async def test_a_shape_that_is_not_carried_out_is_refused(kubernetes: str) -> None:
    """Several at once, since a plan takes some seconds; each is gone once its way out is taken."""
    shapes = ("network-disks", "soft-anti-affinity", "on-delete")
    lab = LabOptions.model_validate({"kubernetes": kubernetes, "shapes": shapes})
    async with looking(lab) as look:
        await look.lab.destroy("kube-etcd-1", "corrupt-wal")
        own = (await look.admin.get("pods", "kube-etcd-1", NAMESPACE))["spec"]["nodeName"]
        await a_pod_that_could_start_elsewhere(look, own)
        await everything_at_once(look, own)
        plan = await look.plan()
        assert plan.pins is not None, plan.refusals
        assert plan.pins.update_strategy == {"type": "OnDelete"}
        await an_admission_that_refuses(look)
        await a_flag_that_an_edit_does_not_reach(look)


async def a_pod_that_could_start_elsewhere(look: Looking, own: str) -> None:
    """The way out is taken as it is written, and stays for the rest; and no Secret has such a name."""
    others = [node for node in NODES if node != own]
    plan = await look.plan({"certificates_secret_prefix": "etcd-"})
    assert refused(plan) == {"start elsewhere", "certificates Secret"}
    said = said_of(plan, "start elsewhere")[1]
    assert f"could start on {', '.join(others)}; its anti-affinity is no requirement" in said
    assert f"kubectl cordon {' '.join(others)}" in way_out(plan, "start elsewhere")
    assert "0 Secrets start with etcd-: none" in said_of(plan, "certificates Secret")[1]
    for node in others:
        await cordon(look, node, to=True)


async def everything_at_once(look: Looking, own: str) -> None:
    """Two budgets on the failed pod and on a neighbour, a pod alone, two Secrets, a cordon, a rollout."""
    neighbours = {"matchLabels": {"app": "kube-apiserver"}}  # one on each node, with a budget already
    alone = pod_on(own, "alone", terminationGracePeriodSeconds=1)
    async with AsyncExitStack() as stack:
        for name, selector in (("second", ETCD_PODS), ("third", neighbours)):
            budget = named(name) | {"spec": {"minAvailable": 0, "selector": selector}}
            await stack.enter_async_context(there_is(look, "poddisruptionbudgets", budget, NAMESPACE))
        for name in ("etcd-one", "etcd-two"):
            await stack.enter_async_context(there_is(look, "secrets", named(name), NAMESPACE))
        await stack.enter_async_context(there_is(look, "pods", alone, OTHER_NAMESPACE))
        await stack.enter_async_context(a_rollout_under_way(look))
        await cordon(look, own, to=True)
        plan = await look.plan({"certificates_secret_prefix": "etcd-"})
        assert (await look.admin.get("nodes", own))["spec"]["unschedulable"] is True
        await cordon(look, own, to=False)
    assert refused(plan) == {
        *("eviction under the budget", "drain", "certificates Secret", "no cordon", "no rollout")
    }
    assert "more than one PodDisruptionBudget" in said_of(plan, "eviction under the budget")[1]
    assert "delete the one that is too much" in way_out(plan, "eviction under the budget")
    assert "kube-apiserver-" in said_of(plan, "drain")[1].partition("more than one")[0]
    assert "alone: no controller would bring it back" in said_of(plan, "drain")[1]
    assert "drain: replica" in way_out(plan, "drain")
    assert "2 Secrets start with etcd-: etcd-one, etcd-two" in said_of(plan, "certificates Secret")[1]
    assert f"kubectl uncordon {own}" in way_out(plan, "no cordon")
    assert "kube-etcd-0, kube-etcd-1, kube-etcd-2" in said_of(plan, "no rollout")[1]


def way_out(plan: Plan, name: str) -> str:
    (check,) = [check for check in plan.refusals if check.name == name]
    return check.way_out


async def cordon(look: Looking, node: str, *, to: bool) -> None:
    await look.admin.patch("nodes", node, {"spec": {"unschedulable": to}})


async def an_admission_that_refuses(look: Looking) -> None:
    """What refuses it here is its name; a quota or a policy answers in the same place."""
    plan = await look.plan({"utility_name_prefix": "Not_A_Name"})
    assert refused(plan) == {"admission of the utility Pod"}
    assert "metadata.name" in said_of(plan, "admission of the utility Pod")[1]


@asynccontextmanager
async def a_rollout_under_way(look: Looking) -> AsyncIterator[None]:
    """Under `OnDelete` no pod moves, so that every pod is behind."""
    edit = {"spec": {"template": {"metadata": {"annotations": {"rolled": "out"}}}}}
    await look.admin.patch("statefulsets", "kube-etcd", edit, NAMESPACE)
    await until(lambda: behind(look))
    yield
    back = [{"op": "remove", "path": "/spec/template/metadata/annotations"}]
    await look.admin.patch("statefulsets", "kube-etcd", back, NAMESPACE)
    await until(lambda: behind(look, no=True))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - one object, some moments
            await asyncio.sleep(0.05)


async def behind(look: Looking, *, no: bool = False) -> bool:
    status = (await look.admin.get("statefulsets", "kube-etcd", NAMESPACE))["status"]
    pods = await look.admin.list("pods", NAMESPACE)
    revisions = {
        pod["metadata"]["labels"]["controller-revision-hash"]
        for pod in pods
        if pod["metadata"]["name"].startswith("kube-etcd-")
    }
    return (revisions != {status["updateRevision"]}) is not no


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
        plan = await look.plan()
        assert refused(plan) == {"flag --initial-cluster-state"}
        assert expected in said_of(plan, "flag --initial-cluster-state")[1]
        assert "OnDelete" in way_out(plan, "flag --initial-cluster-state")
