"""The rights that are asked for are those that suffice, and each one that is missing is named."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from activities.preflight_checks import Findings, Looks
from activities.preflight_rights import Right, look_at_rights, rights, rights_for_people
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
LEFT_OUT = ("persistentvolumes", "leases", "onpremuserclusters")


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


async def grant(world: World, wanted: list[Right]) -> None:
    """Everything in one role, for the whole cluster: which namespace each is asked in is not the point here."""
    name = world.unique("replace-etcd")
    rules = [
        {
            "apiGroups": [right.group],
            "resources": [f"{right.resource}/{right.subresource}" if right.subresource else right.resource],
            "verbs": [right.verb],
        }
        | ({"resourceNames": [right.name]} if right.name else {})
        for right in wanted
    ]
    for kind in ("clusterroles", "clusterrolebindings"):
        world.own(kind, name)
    await world.client.create("clusterroles", {"metadata": {"name": name}, "rules": rules})
    subject = {"kind": "User", "name": world.namespace, "apiGroup": RBAC}
    reference = {"kind": "ClusterRole", "name": name, "apiGroup": RBAC}
    body = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    await world.client.create("clusterrolebindings", body)


async def until(
    worker: AdminCluster, world: World, bench: Bench, holds: Callable[[Check], bool], warnings: int = 1
) -> Check:
    """Ask until the authorizer has heard of the new rules."""
    tools = Toolbox(worker, SETTINGS, IDENTITY, bench.tools.runs)
    async with asyncio.timeout(30):
        while True:
            looks = Looks(tools, ReplacementRequest(user_cluster=world.namespace), Findings())
            await look_at_rights(looks)
            check, *others = looks.findings.checks
            assert [other.verdict for other in others] == [Verdict.WARN] * len(others)
            if holds(check) and len(others) == warnings:
                return check
            await asyncio.sleep(0.05)


async def test_each_right_that_is_missing_is_named_and_no_other(
    world: World, worker: AdminCluster, bench: Bench
) -> None:
    wanted = rights(SETTINGS, world.namespace, whole_node=True)
    left_out = [right for right in wanted if right.resource in LEFT_OUT]
    check = await until(worker, world, bench, lambda _: True)
    assert check.verdict is Verdict.REFUSE
    assert all(str(right) in check.evidence for right in wanted)

    await grant(world, [right for right in wanted if right not in left_out])
    check = await until(worker, world, bench, lambda check: check.evidence.count(", ") < 8)
    assert check.verdict is Verdict.REFUSE
    assert check.evidence == f"missing: {', '.join(map(str, left_out))}"

    await grant(world, left_out)
    check = await until(worker, world, bench, lambda check: check.verdict is Verdict.OK)
    assert check.evidence == f"all {len(wanted)} are held"

    await grant(world, rights_for_people(world.namespace))
    await until(worker, world, bench, lambda check: check.verdict is Verdict.OK, warnings=0)
