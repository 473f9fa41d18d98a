"""The API server dies, freezes and comes back: what clients see, and what has become of the objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lab.control_plane import ControlPlane
from lab.kube_client import KubeClient
from lab.pki import AdminPki
from tests.lab.conftest import KINDS, make_control_plane
from tests.lab.kubelet import Kubelet
from tests.lab.world import World, uid_of


@pytest.fixture(params=KINDS)
async def control_plane(
    request: pytest.FixtureRequest, tmp_path: Path, pki: AdminPki
) -> AsyncIterator[ControlPlane]:
    """A control plane of the test's own, in the test's loop, to kill."""
    made = make_control_plane(request.param, tmp_path, pki)
    await made.start()
    yield made
    await made.stop()


async def test_objects_and_versions_outlive_the_api_server(
    world: World, client: KubeClient, control_plane: ControlPlane
) -> None:
    before = await world.create("configmaps", {"metadata": {"name": "c"}})
    server = control_plane.components["kube-apiserver"]
    await server.kill()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get("configmaps", "c", world.namespace)
    await server.start()
    await control_plane.until_ready()
    assert await world.get("configmaps", "c") == before
    changed = await client.patch("configmaps", "c", {"data": {"a": "1"}}, world.namespace)
    assert int(changed["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])


async def test_controllers_go_on_where_they_were(
    world: World, client: KubeClient, control_plane: ControlPlane
) -> None:
    async with Kubelet(client, world.namespace):
        before = await world.running_set()
    server = control_plane.components["kube-apiserver"]
    await server.kill()
    await server.start()
    await control_plane.until_ready()
    async with Kubelet(client, world.namespace):
        await client.delete("pods", "etcd-1", world.namespace)
        after = await world.until_replaced("etcd-1", before)
    assert uid_of(after) != uid_of(before["etcd-1"])


async def test_a_watch_ends_when_the_api_server_dies(
    world: World, client: KubeClient, control_plane: ControlPlane
) -> None:
    server = control_plane.components["kube-apiserver"]
    watching = asyncio.create_task(follow(client, world.namespace))
    await world.create("secrets", {"metadata": {"name": "s"}})
    await server.kill()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await asyncio.wait_for(watching, 10)
    await server.start()
    await control_plane.until_ready()


async def follow(client: KubeClient, namespace: str) -> None:
    async for _ in client.watch("secrets", namespace):
        pass


async def test_a_frozen_api_server_answers_nothing_until_it_goes_on(
    world: World, control_plane: ControlPlane
) -> None:
    server = control_plane.components["kube-apiserver"]
    async with KubeClient.from_kubeconfig(control_plane.kubeconfig, timeout=0.5) as impatient:
        server.pause()
        try:
            with pytest.raises(TimeoutError):
                await impatient.get("namespaces", world.namespace)
        finally:
            server.resume()
    async with KubeClient.from_kubeconfig(control_plane.kubeconfig) as patient:
        assert await patient.get("namespaces", world.namespace)
