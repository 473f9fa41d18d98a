"""What the cluster makes of a node that falls silent, and of one that says it is not ready.

These control planes of their own take a node for lost after four seconds and not after fifty.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.control_plane import ControlPlane
from lab.kube_client import KubeClient
from lab.pki import AdminPki
from tests.lab.conftest import KINDS, run_control_plane
from tests.lab.kubelet import Kubelet
from tests.lab.world import World, is_going, is_ready

Json = dict[str, Any]
GRACE = 4
LEASES = "kube-node-lease"


@pytest.fixture(scope="module", params=KINDS)
def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pki: AdminPki
) -> Iterator[ControlPlane]:
    """A control plane that loses its patience with a silent node soon."""
    directory = tmp_path_factory.mktemp(request.param)
    with run_control_plane(request.param, directory, pki, node_grace=GRACE) as started:
        yield started


@asynccontextmanager
async def heartbeat(client: KubeClient, node: str) -> AsyncIterator[None]:
    """Renew a node's lease as its kubelet does, until the block ends."""
    body = {"metadata": {"name": node}, "spec": {"holderIdentity": node, "leaseDurationSeconds": 40}}
    await client.create("leases", body, LEASES)
    task = asyncio.create_task(_renew(client, node))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.delete("leases", node, LEASES)


async def _renew(client: KubeClient, node: str) -> None:
    while True:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        await client.patch("leases", node, {"spec": {"renewTime": now}}, LEASES)
        await asyncio.sleep(1)


def taints_of(node: Json) -> set[tuple[str, str]]:
    return {(taint["key"].partition("/")[2], taint["effect"]) for taint in node["spec"].get("taints") or ()}


def ready_status(node: Json) -> str:
    conditions = node["status"].get("conditions") or ()
    return next((str(found["status"]) for found in conditions if found["type"] == "Ready"), "")


async def test_a_new_node_is_tainted_until_it_is_ready(world: World, client: KubeClient) -> None:
    name = world.unique("node")
    world.own("nodes", name)
    created = await client.create("nodes", {"metadata": {"name": name}})
    assert taints_of(created) == {("not-ready", "NoSchedule")}
    await world.node_says(name, ready=True)
    await world.until(lambda node: not taints_of(node), "nodes", name, namespace="")


async def test_a_node_that_says_it_is_not_ready_is_tainted(world: World, client: KubeClient) -> None:
    name, other = await world.node(), await world.node()
    async with heartbeat(client, name), heartbeat(client, other):
        await world.node_says(name, ready=False)
        both = {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}
        await world.until(lambda node: taints_of(node) == both, "nodes", name, namespace="")
        await world.node_says(name, ready=True)
        await world.until(lambda node: not taints_of(node), "nodes", name, namespace="")


async def test_a_silent_node_becomes_unknown_and_recovers_when_it_speaks(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    """Its pods lose Ready, whatever runs on; those that do not tolerate it are marked, and nobody ends them."""
    name, other = await world.node(), await world.node()
    async with heartbeat(client, other):
        kubelet.hung.add("impatient")
        unreachable = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
        await world.pod("patient", nodeName=name)
        await world.pod("impatient", tolerations=[{**unreachable, "tolerationSeconds": 0}], nodeName=name)
        await world.until(is_ready, "pods", "patient")
        node = await world.until(lambda node: ready_status(node) == "Unknown", "nodes", name, namespace="")
        ready = next(found for found in node["status"]["conditions"] if found["type"] == "Ready")
        assert ready["reason"] == "NodeStatusUnknown"
        assert ready["message"] == "Kubelet stopped posting node status."
        both = {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
        await world.until(lambda node: taints_of(node) == both, "nodes", name, namespace="")
        await world.until(is_going, "pods", "impatient")
        patient = await world.until(lambda pod: not is_ready(pod), "pods", "patient")
        assert not is_going(patient)
        await world.node_says(name, ready=True)
        await world.until(lambda node: not taints_of(node), "nodes", name, namespace="")


async def test_where_all_nodes_are_silent_nothing_is_evicted(
    world: World, client: KubeClient, kubelet: Kubelet
) -> None:
    """It is more likely that the control plane is cut off than that all machines are lost."""
    name = await world.node()
    await world.pod(nodeName=name, tolerations=[])
    await world.until(is_ready, "pods", "p")
    await world.until(
        lambda node: taints_of(node) == {("unreachable", "NoSchedule")}, "nodes", name, namespace=""
    )
    await world.until(lambda pod: not is_ready(pod), "pods", "p")
    assert not is_going(await world.get("pods", "p"))


async def test_a_lease_that_is_renewed_keeps_a_node_ready(world: World, client: KubeClient) -> None:
    """The silence of another node is the clock: this one was created before and is Ready still."""
    alive = await world.node("alive")
    async with heartbeat(client, alive):
        silent = await world.node("silent")
        await world.until(lambda node: ready_status(node) == "Unknown", "nodes", silent, namespace="")
        assert ready_status(await client.get("nodes", alive)) == "True"
