"""Exec through the API server: output, exit codes, and every way in which the handshake fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from lab.kube_client import KubeClient
from lab.pki import AdminPki
from tests.lab.node_agent import NodeAgent
from tests.lab.world import World

Json = dict[str, Any]
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


@pytest.fixture
async def node(world: World, client: KubeClient, pki: AdminPki) -> AsyncIterator[str]:
    """A node whose kubelet endpoint is the small node agent of these tests."""
    name = await world.node()
    async with NodeAgent(pki) as agent:
        await point_to(client, name, agent.port)
        yield name


async def point_to(client: KubeClient, node: str, port: int) -> None:
    """Write the node's address and the port of its kubelet."""
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    endpoints = {"kubeletEndpoint": {"Port": port}}
    body = {"status": {"addresses": addresses, "daemonEndpoints": endpoints}}
    await client.patch("nodes", node, body, subresource="status")


async def run(
    world: World, *command: str, pod: str = "p", container: str = "main", protocol: str = PROTOCOLS[1]
) -> dict[int, bytes]:
    """Run a command in a pod; return what arrived, by channel."""
    path = f"/api/v1/namespaces/{world.namespace}/pods/{pod}/exec"
    query = [("command", word) for word in command]
    query += [("container", container), ("stdout", "true"), ("stderr", "true")]
    channels: dict[int, bytes] = {}
    async with world.client.session.ws_connect(
        world.client.server + path, params=query, protocols=[protocol]
    ) as socket:
        assert socket.protocol == protocol
        async for message in socket:
            channels[message.data[0]] = channels.get(message.data[0], b"") + message.data[1:]
    return channels


async def handshake_fails(world: World, **where: str) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as failure:
        await run(world, "true", **where)
    return failure.value.status


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_command_gives_its_output_and_success(world: World, node: str, protocol: str) -> None:
    await world.pod(nodeName=node)
    channels = await run(world, "sh", "-c", "echo out; echo err >&2", protocol=protocol)
    assert (channels[1], channels[2]) == (b"out\n", b"err\n")
    assert json.loads(channels[3])["status"] == "Success"


async def test_an_exit_code_arrives_as_a_cause(world: World, node: str) -> None:
    await world.pod(nodeName=node)
    status = json.loads((await run(world, "sh", "-c", "exit 7"))[3])
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


async def test_a_stream_that_breaks_ends_without_a_status(world: World, node: str) -> None:
    await world.pod("dying", nodeName=node)
    assert 3 not in await run(world, "true", pod="dying")


async def test_no_such_pod(world: World, node: str) -> None:
    assert await handshake_fails(world, pod="none") == 404


async def test_no_such_container(world: World, node: str) -> None:
    await world.pod(nodeName=node)
    assert await handshake_fails(world, container="none") == 400


async def test_a_pod_without_a_node(world: World) -> None:
    await world.pod(nodeSelector={"nowhere": "true"})
    assert await handshake_fails(world) == 400


async def test_a_container_between_two_restarts(world: World, node: str) -> None:
    await world.pod("restarting", nodeName=node)
    assert await handshake_fails(world, pod="restarting") == 500


async def test_a_kubelet_that_is_not_there(world: World, client: KubeClient, unused_tcp_port: int) -> None:
    name = await world.node()
    await point_to(client, name, unused_tcp_port)
    await world.pod(nodeName=name)
    assert await handshake_fails(world) == 500


async def test_a_log_is_read_through_the_api_server(world: World, client: KubeClient, node: str) -> None:
    await world.pod(nodeName=node)
    path = f"/api/v1/namespaces/{world.namespace}/pods/p/log"
    async with client.session.get(client.server + path) as response:
        assert await response.text() == "log of main\n"
