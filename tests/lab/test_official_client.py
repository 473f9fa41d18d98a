"""The official client, asyncio flavour, as the product uses it: what it sends and what it makes of the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes import aio

from lab.control_plane import ControlPlane
from lab.kube_client import KubeClient
from lab.pki import AdminPki
from tests.lab.kubelet import Kubelet
from tests.lab.node_agent import NodeAgent
from tests.lab.test_exec import point_to
from tests.lab.world import World


@pytest.fixture
async def official(control_plane: ControlPlane) -> AsyncIterator[aio.client.ApiClient]:
    """The official client with the administrator's kubeconfig."""
    configuration = aio.client.Configuration()
    load: Any = aio.config.load_kube_config
    await load(str(control_plane.kubeconfig), client_configuration=configuration)
    async with aio.client.ApiClient(configuration) as made:
        yield made


def named(name: str) -> aio.client.V1ObjectMeta:
    return aio.client.V1ObjectMeta(name=name)


async def test_objects_are_created_patched_and_deleted(world: World, official: aio.client.ApiClient) -> None:
    core = aio.client.CoreV1Api(official)
    created = await core.create_namespaced_config_map(
        world.namespace, aio.client.V1ConfigMap(metadata=named("c"))
    )
    assert created.metadata is not None
    assert created.metadata.uid
    patched = await core.patch_namespaced_config_map("c", world.namespace, {"data": {"a": "1"}})
    assert patched.data == {"a": "1"}
    replaced = await core.patch_namespaced_config_map(
        "c", world.namespace, [{"op": "replace", "path": "/data/a", "value": "2"}]
    )
    assert replaced.data == {"a": "2"}
    options = aio.client.V1DeleteOptions(preconditions=aio.client.V1Preconditions(uid=created.metadata.uid))
    await core.delete_namespaced_config_map("c", world.namespace, body=options)


async def test_a_refused_eviction_is_429(
    world: World, official: aio.client.ApiClient, kubelet: Kubelet
) -> None:
    await world.running_set(podManagementPolicy="Parallel")
    await world.budget(minAvailable=3)
    await world.until(lambda pdb: pdb["status"]["currentHealthy"] == 3, "poddisruptionbudgets", "pdb")
    metadata = aio.client.V1ObjectMeta(name="etcd-0", namespace=world.namespace)
    eviction = aio.client.V1Eviction(metadata=metadata)
    core = aio.client.CoreV1Api(official)
    with pytest.raises(aio.client.ApiException) as refusal:
        await core.create_namespaced_pod_eviction("etcd-0", world.namespace, eviction)
    assert refusal.value.status == 429


async def test_a_watch_follows_changes(world: World, official: aio.client.ApiClient) -> None:
    core = aio.client.CoreV1Api(official)
    await core.create_namespaced_secret(world.namespace, aio.client.V1Secret(metadata=named("s")))
    make_watch: Any = aio.watch.Watch
    async with make_watch() as watch:
        async for event in watch.stream(core.list_namespaced_secret, world.namespace, timeout_seconds=10):
            assert (event["type"], event["object"].metadata.name) == ("ADDED", "s")
            break


async def test_exec_gives_the_channels(
    world: World, client: KubeClient, official: aio.client.ApiClient, pki: AdminPki
) -> None:
    node = await world.node()
    await world.pod(nodeName=node)
    make_client: Any = aio.stream.WsApiClient
    async with NodeAgent(pki) as agent, make_client(official.configuration) as websockets:
        await point_to(client, node, agent.port)
        core = aio.client.CoreV1Api(websockets)
        answer = await core.connect_get_namespaced_pod_exec(
            "p", world.namespace, command=["echo", "hello"], container="main", stdout=True, stderr=True
        )
        assert answer == "hello\n"
