"""Watches: what they begin with, what they see through a selector, how they end."""

from __future__ import annotations

import asyncio
from typing import Any

from lab.kube_client import KubeClient
from tests.lab.world import PATIENCE, World

Json = dict[str, Any]


async def test_a_watch_begins_with_what_is_there(world: World, client: KubeClient) -> None:
    await world.create("secrets", {"metadata": {"name": "a"}})
    events = await collect(client, world, 1)
    assert events == [("ADDED", "a")]


async def test_a_watch_from_a_version_sees_every_change_since(world: World, client: KubeClient) -> None:
    version = await version_of_list(client, world)
    await world.create("secrets", {"metadata": {"name": "a"}})
    await client.patch("secrets", "a", {"metadata": {"labels": {"x": "1"}}}, world.namespace)
    await client.delete("secrets", "a", world.namespace)
    events = await collect(client, world, 3, resourceVersion=version)
    assert events == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_selector_makes_a_change_an_arrival_or_a_departure(world: World, client: KubeClient) -> None:
    version = await version_of_list(client, world)
    await world.create("secrets", {"metadata": {"name": "a"}})
    for label in ("yes", "no"):
        await client.patch("secrets", "a", {"metadata": {"labels": {"x": label}}}, world.namespace)
    events = await collect(client, world, 2, resourceVersion=version, labelSelector="x=yes")
    assert events == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_of_one_object_sees_it_alone(world: World, client: KubeClient) -> None:
    version = await version_of_list(client, world)
    await world.create("secrets", {"metadata": {"name": "a"}})
    await world.create("secrets", {"metadata": {"name": "b"}})
    events = await collect(client, world, 1, resourceVersion=version, fieldSelector="metadata.name=b")
    assert events == [("ADDED", "b")]


async def test_a_watch_sees_the_last_state_of_what_was_deleted(world: World, client: KubeClient) -> None:
    created = await world.create("secrets", {"metadata": {"name": "a"}})
    await client.delete("secrets", "a", world.namespace)
    version = created["metadata"]["resourceVersion"]
    async with asyncio.timeout(PATIENCE):
        async for kind, obj in client.watch("secrets", world.namespace, resourceVersion=version):
            assert kind == "DELETED"
            assert obj["metadata"]["uid"] == created["metadata"]["uid"]
            assert int(obj["metadata"]["resourceVersion"]) > int(version)
            break


async def test_a_watch_ends_when_its_time_is_over(world: World, client: KubeClient) -> None:
    async with asyncio.timeout(PATIENCE):
        events = [event async for event in client.watch("secrets", world.namespace, timeoutSeconds="1")]
    assert events == []


async def test_initial_events_end_with_a_bookmark(world: World, client: KubeClient) -> None:
    await world.create("secrets", {"metadata": {"name": "a"}})
    options = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with asyncio.timeout(PATIENCE):
        kinds = []
        async for kind, obj in client.watch("secrets", world.namespace, **options):
            kinds.append(kind)
            if kind == "BOOKMARK":
                assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
                break
    assert kinds == ["ADDED", "BOOKMARK"]


async def test_a_watch_sees_what_happens_while_it_runs(world: World, client: KubeClient) -> None:
    watching = asyncio.create_task(collect(client, world, 2))
    await world.create("secrets", {"metadata": {"name": "a"}})
    await world.create("secrets", {"metadata": {"name": "b"}})
    assert await watching == [("ADDED", "a"), ("ADDED", "b")]


async def version_of_list(client: KubeClient, world: World) -> str:
    answer = await client.request("GET", f"/api/v1/namespaces/{world.namespace}/secrets")
    version: str = answer["metadata"]["resourceVersion"]
    return version


async def collect(client: KubeClient, world: World, count: int, **params: str) -> list[tuple[str, str]]:
    """The first events of a watch, as (type, name)."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(PATIENCE):
        async for kind, obj in client.watch("secrets", world.namespace, **params):
            found.append((kind, obj["metadata"]["name"]))
            if len(found) == count:
                break
    return found
