"""The rights that are asked for are those that suffice, and each one that is missing is named."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from activities.preflight_checks import Findings, Looks
from activities.preflight_rights import Right, look_at_rights, rights
from activities.step import Toolbox
from lab.control_plane import ControlPlane
from lab.kubeconfig import write_kubeconfig
from lab.pki import AdminPki
from replace_etcd.cluster import AdminCluster
from replace_etcd.kubernetes_cluster import connect
from replace_etcd.models.plan import Check, Verdict
from replace_etcd.models.request import ReplacementRequest
from tests.activities.conftest import IDENTITY, SETTINGS, Bench
from tests.lab.world import World

RBAC = "rbac.authorization.k8s.io"
LEFT_OUT = {
    ("get", "", "persistentvolumes", ""): "get persistentvolumes (cluster-wide)",
    ("create", "", "pods", "eviction"): "create pods/eviction (cluster-wide)",
    ("get", "coordination.k8s.io", "leases", ""): "get leases (namespace kube-node-lease)",
    ("get", "onprem.cluster.gke.io", "onpremuserclusters", ""): "get onpremuserclusters (namespace",
}


@pytest.fixture
async def worker(
    control_plane: ControlPlane, pki: AdminPki, world: World, tmp_path: Path
) -> AsyncIterator[AdminCluster]:
    """A worker with a certificate of its own and no rights."""
    name = world.unique("worker")
    kubeconfig = write_kubeconfig(
        tmp_path / "kubeconfig",
        server=control_plane.url,
        ca=pki.ca,
        client=pki.client(name, user=world.namespace),
    )
    connected = await connect(str(kubeconfig), None)
    yield connected
    await connected.close()


async def grant(world: World, wanted: set[Right]) -> None:
    """Everything in one role, for the whole cluster: which namespace each is asked in is not the point here."""
    name = world.unique("replace-etcd")
    rules = [
        {"apiGroups": [group], "resources": [f"{resource}/{sub}" if sub else resource], "verbs": [verb]}
        for verb, group, resource, sub in wanted
    ]
    for kind in ("clusterroles", "clusterrolebindings"):
        world.own(kind, name)
    await world.client.create("clusterroles", {"metadata": {"name": name}, "rules": rules})
    subject = {"kind": "User", "name": world.namespace, "apiGroup": RBAC}
    reference = {"kind": "ClusterRole", "name": name, "apiGroup": RBAC}
    body = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    await world.client.create("clusterrolebindings", body)


async def until(worker: AdminCluster, world: World, bench: Bench, holds: Callable[[Check], bool]) -> Check:
    """Ask until the authorizer has heard of the new rules."""
    tools = Toolbox(worker, SETTINGS, IDENTITY, bench.tools.runs)
    async with asyncio.timeout(30):
        while True:
            looks = Looks(tools, ReplacementRequest(user_cluster=world.namespace), Findings())
            await look_at_rights(looks)
            (check,) = looks.findings.checks
            if holds(check):
                return check
            await asyncio.sleep(0.05)


async def test_each_right_that_is_missing_is_named_and_no_other(
    world: World, worker: AdminCluster, bench: Bench
) -> None:
    wanted = {right for right, _ in rights(SETTINGS, world.namespace, whole_node=True)}
    check = await until(worker, world, bench, lambda _: True)
    assert check.verdict is Verdict.REFUSE
    assert all(f"{verb} {resource}" in check.evidence for verb, _, resource, _ in wanted)

    await grant(world, wanted - set(LEFT_OUT))
    check = await until(worker, world, bench, lambda check: check.evidence.count(", ") < 8)
    assert check.verdict is Verdict.REFUSE
    assert all(words in check.evidence for words in LEFT_OUT.values())
    assert "pods/exec" not in check.evidence

    await grant(world, set(LEFT_OUT))
    check = await until(worker, world, bench, lambda check: check.verdict is Verdict.OK)
    assert check.evidence.startswith("all ")
