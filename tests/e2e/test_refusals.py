"""Every reason to refuse that a lab can show: each is seen to refuse, and to be gone once it is mended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from activities.recheck import Moment, must_hold_still
from lab.fixture.names import NODES, OTHER_NAMESPACE, OWNER_NAMESPACE
from lab.fixture.neighbours import OWNER_RESOURCE
from lab.kube_client import ApiError
from lab.options import LabOptions
from replace_etcd.errors import Moved
from replace_etcd.models.plan import Plan, Verdict
from tests.e2e.conftest import NAMESPACE, REAL
from tests.e2e.looking import Looking, looking

WARN, OK = Verdict.WARN, Verdict.OK
READY = {"type": "Ready", "status": "True"}
SLEEPER = {"name": "main", "image": "registry.example/x:1", "command": ["/bin/sh", "-c", "sleep infinity"]}
EXPECTED = {
    *(
        "admin cluster",
        "permissions",
        "user cluster",
        "no upgrade",
        "fleet-wide stop",
        "no other replacement",
    ),
    *("StatefulSet", "flag --initial-cluster-state", "no other manager", "PodDisruptionBudget", "no rollout"),
    *("certificates", "defragmentation", "member list", "exactly one failed member", "member and pod"),
    *(
        "the failed member is silent",
        "survivors' last start",
        "no learner",
        "leader",
        "one cluster",
        "quorum",
        "raft indexes",
        "no alarm",
    ),
    *("version", "authentication", "hashkv", "snapshot", "volume", "no other pod on the volume"),
    *(
        "certificates Secret",
        "no cordon",
        "node",
        "utility Pod",
        "admission of the utility Pod",
        "start elsewhere",
        "eviction under the budget",
    ),
    *("other user clusters", "drain"),
}


@asynccontextmanager
async def there_is(look: Looking, resource: str, body: Any, namespace: str) -> AsyncIterator[None]:
    """An object, until the block ends; it is gone then."""
    made = await look.admin.create(resource, body, namespace)
    name = made["metadata"]["name"]
    yield
    await look.admin.delete(resource, name, namespace)
    async with asyncio.timeout(60):
        while await look.admin.find(resource, name, namespace):  # noqa: ASYNC110 - no watch over one object
            await asyncio.sleep(0.1)


@asynccontextmanager
async def owner_says(look: Looking, status: Any, *, v2: bool = False) -> AsyncIterator[None]:
    """The user cluster in another state, until the block ends."""

    async def say(status: Any, *, v2: bool) -> None:
        patch = look.admin.patch
        await patch(OWNER_RESOURCE, NAMESPACE, {"spec": {"enableControlplaneV2": v2}}, OWNER_NAMESPACE)
        await patch(OWNER_RESOURCE, NAMESPACE, {"status": status}, OWNER_NAMESPACE, subresource="status")

    await say(status, v2=v2)
    yield
    await say({"conditions": [READY], "observedGeneration": None}, v2=False)


def named(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


def refused(plan: Plan) -> set[str]:
    assert plan.pins is None
    assert all(check.evidence and check.way_out for check in plan.refusals)
    return {check.name for check in plan.refusals}


def said_of(plan: Plan, name: str) -> tuple[Verdict, str]:
    (check,) = [check for check in plan.checks if check.name == name]
    return check.verdict, check.evidence


def pod_on(node: str, name: str, **spec: Any) -> dict[str, Any]:
    return named(name) | {"spec": {"nodeName": node, "containers": [SLEEPER], **spec}}


@asynccontextmanager
async def other_etcd(look: Looking, namespace: str, *, ready: bool) -> AsyncIterator[None]:
    """The etcd of another user cluster, on the node of kube-etcd-1."""
    labels = {"app": "kube-etcd"}
    failing = {} if ready else {"readinessProbe": {"exec": {"command": ["false"]}}}
    container = {**SLEEPER, **failing}
    spec = {"containers": [container], "nodeName": NODES[1], "terminationGracePeriodSeconds": 1}
    template = {"metadata": {"labels": labels}, "spec": spec}
    shape = {"replicas": 1, "serviceName": "x", "selector": {"matchLabels": labels}, "template": template}
    await look.admin.create("statefulsets", named("kube-etcd") | {"spec": shape}, namespace)
    async with asyncio.timeout(60):
        while not await _is_as_wished(look, namespace, ready=ready):  # noqa: ASYNC110 - one object, some moments
            await asyncio.sleep(0.1)
    yield
    await look.admin.delete("statefulsets", "kube-etcd", namespace)
    async with asyncio.timeout(60):
        while await look.admin.find("pods", "kube-etcd-0", namespace):
            with suppress(ApiError):
                await look.admin.delete("pods", "kube-etcd-0", namespace, None, gracePeriodSeconds="0")
            await asyncio.sleep(0.1)


async def _is_as_wished(look: Looking, namespace: str, *, ready: bool) -> bool:
    pod = await look.admin.find("pods", "kube-etcd-0", namespace) or {"status": {}}
    statuses = pod["status"].get("containerStatuses") or []
    return bool(statuses) and "running" in statuses[0]["state"] and statuses[0]["ready"] is ready


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
async def test_every_refusal_is_shown_at_once_and_is_gone_once_it_is_mended(
    tmp_path: Path, kubernetes: str
) -> None:
    async with looking(LabOptions.model_validate({"kubernetes": kubernetes})) as look:
        await look.lab.destroy("kube-etcd-1", "corrupt-wal")
        await nothing_stands_against_it(look)
        await everything_is_refused_at_once(look)
        await what_is_no_reason_to_refuse_is_a_warning(look, tmp_path)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(other_etcd(look, OTHER_NAMESPACE, ready=False))
            await stack.enter_async_context(other_etcd(look, "default", ready=True))
            await a_drain_that_would_harm_others_is_refused(look)
            await a_replacement_beside_others_that_ail_is_not(look)
        await a_world_that_holds_still_is_told_from_one_that_moved(look)
        if kubernetes == "real":  # the simulated control plane keeps no managedFields
            await somebody_applies_the_strategy(look)
        await nothing_stands_against_it(look)


async def nothing_stands_against_it(look: Looking) -> None:
    plan = await look.plan()
    assert plan.pins is not None, plan.refusals
    assert plan.pins.node_ready
    assert plan.pins.node_lease == ""
    assert not plan.pins.volume_can_move
    said = {check.name: check for check in plan.checks}
    assert set(said) == EXPECTED
    assert {name for name, check in said.items() if check.verdict is WARN} <= {
        *("snapshot", "version", "survivors' last start")  # the lab has just been set up
    }
    assert "etcd valid for 29 days" in said["certificates"].evidence
    assert "lease renewed" in said["node"].evidence
    assert "node-1: the volume's node affinity" in said["start elsewhere"].evidence
    assert "apart" in said["raft indexes"].evidence
    assert "drain: replica" in said["drain"].evidence


async def everything_is_refused_at_once(look: Looking) -> None:
    stop = named("replace-etcd-stop") | {"data": {"reason": "bad firmware"}}
    work = {"conditions": [READY, {"type": "Reconciling", "status": "True"}]}
    settings = {"own_pod": "kube-controller-manager-0"}
    async with there_is(look, "configmaps", stop, "kube-system"), owner_says(look, work, v2=True):
        plan = await look.plan(settings, limits={"hold": "P30D"}, require_snapshot=True)
    assert refused(plan) == {
        *("fleet-wide stop", "no upgrade", "user cluster", "drain", "certificates", "snapshot")
    }
    assert "bad firmware" in said_of(plan, "fleet-wide stop")[1]
    assert "Reconciling is True" in said_of(plan, "no upgrade")[1]
    assert "kube-controller-manager-0 is this worker's own pod" in said_of(plan, "drain")[1]
    assert "30 days" in said_of(plan, "certificates")[1]


async def what_is_no_reason_to_refuse_is_a_warning(look: Looking, tmp_path: Path) -> None:
    name = "kube-controller-manager"
    budget = named("blocks-it") | {"spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": name}}}}
    doubt = {"conditions": [{"type": "Ready", "status": "Unknown"}], "observedGeneration": 99}
    scratch = [{"name": "scratch", "emptyDir": {}}]
    alone = pod_on(NODES[1], "alone", volumes=scratch, terminationGracePeriodSeconds=1)
    async with (
        owner_says(look, doubt),
        there_is(look, "poddisruptionbudgets", budget, OTHER_NAMESPACE),
        there_is(look, "pods", alone, OTHER_NAMESPACE),
    ):
        await until_blocked(look)
        plan = await look.plan({"snapshot_dir": tmp_path}, require_snapshot=True, force_drain=True)
    assert plan.pins is not None, plan.refusals
    assert said_of(plan, "no upgrade")[0] is WARN
    assert said_of(plan, "snapshot")[0] is OK
    verdict, evidence = said_of(plan, "drain")
    assert verdict is WARN
    assert f"{OTHER_NAMESPACE}/alone" in evidence
    assert "blocks-it" in evidence.partition("blocked now")[2]


async def until_blocked(look: Looking) -> None:
    """A budget counts its pods some moments after it is made; until then it lets nobody go, and does not say why."""
    pod = await look.admin.get("pods", "kube-controller-manager-0", OTHER_NAMESPACE)
    async with asyncio.timeout(60):
        while True:
            answer = await look.cluster.evict(
                OTHER_NAMESPACE, pod["metadata"]["name"], uid=pod["metadata"]["uid"], dry_run=True
            )
            if "blocks-it" in answer.reason:
                return
            await asyncio.sleep(0.1)


async def a_drain_that_would_harm_others_is_refused(look: Looking) -> None:
    alone = pod_on(NODES[1], "alone", terminationGracePeriodSeconds=1)
    behind = {"conditions": [READY], "observedGeneration": 0}
    async with there_is(look, "pods", alone, OTHER_NAMESPACE), owner_says(look, behind):
        plan = await look.plan({"snapshot_dir": Path("/nowhere")})
    assert refused(plan) == {"no upgrade", "snapshot", "other user clusters", "drain"}
    assert "/nowhere" in said_of(plan, "snapshot")[1]
    assert "0 observed" in said_of(plan, "no upgrade")[1]
    evidence = said_of(plan, "other user clusters")[1]
    assert f"{OTHER_NAMESPACE}/kube-etcd-0 (not Ready: kube-etcd-0)" in evidence
    assert "default/kube-etcd-0" in evidence
    assert "default/kube-etcd-0 (not Ready" not in evidence
    evidence = said_of(plan, "drain")[1]
    assert "alone: no controller would bring it back; set force_drain" in evidence
    assert "etcd pod of another user cluster" in evidence


async def a_replacement_beside_others_that_ail_is_not(look: Looking) -> None:
    """A dead node breaks one member of many user clusters: one of them has to be the first."""
    plan = await look.plan({"own_pod": "kube-controller-manager-0"}, drain="replica")
    assert plan.pins is not None, plan.refusals
    assert said_of(plan, "other user clusters")[0] is WARN
    assert plan.drained == []


async def a_world_that_holds_still_is_told_from_one_that_moved(look: Looking) -> None:
    pins = await look.pins()

    async def edit(flag: str, strategy: Any) -> None:
        values = {pins.flag.pointer: flag, "/spec/updateStrategy": strategy}
        patch = [{"op": "replace", "path": path, "value": value} for path, value in values.items()]
        await look.admin.patch("statefulsets", "kube-etcd", patch, NAMESPACE)

    async def recheck() -> None:
        await must_hold_still(look.tools(), look.survivors(), pins, moment=Moment.EVICTION)

    with pytest.raises(Moved, match="reverted the edit"):
        await recheck()
    await edit(pins.flag.existing, {"type": "OnDelete"})
    await recheck()
    stop = named("replace-etcd-stop") | {"data": {"reason": "bad firmware"}}
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": pins.claim}}
    debug = pod_on(NODES[1], "debug", volumes=[claim], terminationGracePeriodSeconds=1)
    async with there_is(look, "configmaps", stop, "kube-system"), there_is(look, "pods", debug, NAMESPACE):
        with pytest.raises(Moved) as caught:
            await recheck()
    assert "bad firmware" in str(caught.value)
    assert f"pod debug uses {pins.claim}" in str(caught.value)
    await edit(pins.flag.original, pins.update_strategy)


async def somebody_applies_the_strategy(look: Looking) -> None:
    """The way out is carried out as it is written, and works."""
    applied = {"apiVersion": "apps/v1", "kind": "StatefulSet", **named("kube-etcd")}
    applied["spec"] = {"updateStrategy": {"type": "RollingUpdate"}}
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/kube-etcd"
    await look.admin.request(
        "PATCH",
        path,
        body=applied,
        content_type="application/apply-patch+yaml",
        params={"fieldManager": "gitops", "force": "true"},
    )
    plan = await look.plan()
    assert refused(plan) == {"no other manager"}
    assert "gitops applies /spec/updateStrategy" in said_of(plan, "no other manager")[1]
    (check,) = plan.refusals
    assert '{"op":"replace","path":"/metadata/managedFields","value":[{}]}' in check.way_out
    await look.admin.patch(
        "statefulsets",
        "kube-etcd",
        [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}],
        NAMESPACE,
    )
