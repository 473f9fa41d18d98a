"""A node whose agent dies: its pods run on, unseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from lab.client import LabClient
from tests.lab.nodes import pods
from tests.lab.remote_exec import execute
from tests.lab.world import World

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("namespaces")]
NODE = "node-3"


@pytest.fixture
async def dead(lab: LabClient) -> AsyncIterator[LabClient]:
    """The agent of the node is started again, whatever the test did."""
    yield lab
    await lab.set_agent(NODE, running=True)


async def test_a_node_is_what_a_kubelet_makes_it(world: World) -> None:
    """Address, exec port, a lease that moves, Ready, and no taint."""
    node = await world.client.get("nodes", NODE)
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    assert node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] > 0
    assert pods.ready(node)
    assert not node["spec"].get("taints")
    lease = await world.client.get("leases", NODE, "kube-node-lease")
    seen = lease["spec"]["renewTime"]
    await world.until(
        lambda obj: obj["spec"]["renewTime"] > seen, "leases", NODE, namespace="kube-node-lease"
    )


async def test_pods_outlive_their_agent_and_are_found_again(world: World, dead: LabClient) -> None:
    """The process goes on, a container that ends stays ended, and the restart count goes on where it was."""
    await pods.start(world, nodeName=NODE)
    await execute(world.client, world.namespace, "p", "sh", "-c", "kill -TERM 1")
    before = await world.until(lambda pod: pods.restarts(pod) == 1 and pods.ready(pod), "pods", "p")
    await dead.set_agent(NODE, running=False)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await execute(world.client, world.namespace, "p", "true")
    assert refusal.value.status == 500
    await dead.set_agent(NODE, running=True)
    assert (await execute(world.client, world.namespace, "p", "true")).exit_code == 0
    after = await world.get("pods", "p")
    assert pods.container_status(after)["containerID"] == pods.container_status(before)["containerID"]


async def test_a_pod_that_is_made_unready_by_another_is_ready_again(world: World) -> None:
    """The node lifecycle controller does that where it does not see the node's lease; a kubelet undoes it."""
    pod = await pods.start(world, nodeName=NODE)
    conditions = [
        item | {"status": "False"} if item["type"] == "Ready" else item
        for item in pod["status"]["conditions"]
    ]
    unready = {"status": {"conditions": conditions}}
    written = await world.client.patch("pods", "p", unready, world.namespace, subresource="status")
    assert not pods.ready(written)
    await world.until(pods.ready, "pods", "p")


async def test_a_node_that_is_called_silent_says_that_it_is_ready(world: World) -> None:
    """The node lifecycle controller does that where it does not see the node's lease; a kubelet undoes it."""
    node = await world.client.get("nodes", NODE)
    conditions = [item | {"status": "Unknown"} for item in node["status"]["conditions"]]
    silent = {"status": {"conditions": conditions}}
    written = await world.client.patch("nodes", NODE, silent, subresource="status")
    assert not pods.ready(written)
    await world.until(pods.ready, "nodes", NODE, namespace="", within=60)


async def test_a_deletion_waits_for_the_agent(world: World, dead: LabClient) -> None:
    """Nobody else ends the processes, so the object stays, Terminating."""
    pod = await pods.start(world, nodeName=NODE)
    await dead.set_agent(NODE, running=False)
    await world.client.delete("pods", "p", world.namespace)
    await world.until(lambda p: "deletionTimestamp" in p["metadata"], "pods", "p")
    assert not (await dead.status()).agents[NODE]
    await dead.set_agent(NODE, running=True)
    await world.until_gone("pods", "p", pod["metadata"]["uid"])


async def test_a_frozen_agent_answers_nothing_at_all(world: World, dead: LabClient) -> None:
    """Not even the handshake: whoever calls needs a time limit."""
    await pods.start(world, nodeName=NODE)
    await dead.set_agent(NODE, running=False, frozen=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await execute(world.client, world.namespace, "p", "true")
    await dead.set_agent(NODE, running=True)
    assert (await execute(world.client, world.namespace, "p", "true")).exit_code == 0
