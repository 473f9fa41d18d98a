"""Custom resources: served once they are defined, with generation and status as their definition says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lab.kube_client import ApiError, KubeClient
from tests.lab.world import PATIENCE, World

Json = dict[str, Any]
GROUP = "onprem.example.com"
WIDGETS = f"{GROUP}/v1/onpremuserclusters"


@pytest.fixture
async def defined(world: World, client: KubeClient) -> AsyncIterator[None]:
    """The definition of onpremuserclusters, established."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {
            "kind": "OnPremUserCluster",
            "plural": "onpremuserclusters",
            "singular": "onpremusercluster",
        },
        "versions": [{**version, "subresources": {"status": {}}}],
    }
    name = f"onpremuserclusters.{GROUP}"
    await client.create("customresourcedefinitions", {"metadata": {"name": name}, "spec": spec})
    await world.until(is_established, "customresourcedefinitions", name, namespace="")
    yield
    removed = await client.get("customresourcedefinitions", name)
    await client.delete("customresourcedefinitions", name)
    await world.until_gone(
        "customresourcedefinitions", name, removed["metadata"]["uid"], namespace="", within=30
    )


def is_established(definition: Json) -> bool:
    conditions = definition.get("status", {}).get("conditions") or ()
    return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)


def cluster(**spec: Any) -> Json:
    head = {"apiVersion": f"{GROUP}/v1", "kind": "OnPremUserCluster"}
    return {**head, "metadata": {"name": "user-cluster-1"}, "spec": spec}


async def until_served(world: World) -> Json:
    """Create the first object as soon as the kind is served."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await world.create(WIDGETS, cluster(enableControlplaneV2=False))
            except ApiError as error:
                if error.code != 404:
                    raise


@pytest.mark.usefixtures("defined")
async def test_a_custom_resource_is_an_object_like_any_other(world: World, client: KubeClient) -> None:
    created = await until_served(world)
    assert created["metadata"]["generation"] == 1
    changed = await client.patch(
        WIDGETS, "user-cluster-1", {"spec": {"enableControlplaneV2": True}}, world.namespace
    )
    assert changed["metadata"]["generation"] == 2
    written = await client.patch(
        WIDGETS, "user-cluster-1", {"status": {"ready": True}}, world.namespace, subresource="status"
    )
    assert written["status"] == {"ready": True}
    assert written["metadata"]["generation"] == 2
    error = await world.refused(
        415,
        client.patch(
            WIDGETS,
            "user-cluster-1",
            {},
            world.namespace,
            content_type="application/strategic-merge-patch+json",
        ),
    )
    assert error.reason == "UnsupportedMediaType"
    await client.delete(WIDGETS, "user-cluster-1", world.namespace)
    assert await client.list(WIDGETS, world.namespace) == []


@pytest.mark.usefixtures("defined")
async def test_a_version_before_the_kind_was_served_is_too_old_to_watch_from(
    world: World, client: KubeClient
) -> None:
    await until_served(world)
    error = await world.refused(410, first_event(client, world))
    assert error.reason == "Expired"


async def first_event(client: KubeClient, world: World) -> None:
    async with asyncio.timeout(PATIENCE):
        async for _ in client.watch(WIDGETS, world.namespace, resourceVersion="1"):
            return


async def test_a_kind_that_is_not_defined_is_not_served(world: World) -> None:
    error = await world.refused(
        404, world.create("none.example.com/v1/nothings", {"metadata": {"name": "x"}})
    )
    assert error.code == 404
