"""Claims and volumes: which volume a claim gets, and what becomes of a volume whose claim is gone."""

from __future__ import annotations

from typing import Any

from lab.kube_client import KubeClient
from tests.lab.world import World

Json = dict[str, Any]


def is_bound(obj: Json) -> bool:
    return bool(obj["status"].get("phase") == "Bound")


async def test_a_volume_that_names_its_claim_is_bound_to_it(world: World, client: KubeClient) -> None:
    name = await world.volume("data", "somewhere")
    claim = await world.get("persistentvolumeclaims", "data")
    assert claim["spec"]["volumeName"] == name
    assert claim["status"]["capacity"] == {"storage": "1Gi"}
    volume = await client.get("persistentvolumes", name)
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert is_bound(volume)


async def test_a_claim_takes_the_smallest_volume_that_is_large_enough(
    world: World, client: KubeClient
) -> None:
    kind = world.unique("class")
    sizes = {"512Mi": "", "2Gi": "", "4Gi": ""}
    for size in sizes:
        sizes[size] = await world.volume(None, "somewhere", size=size, kind=kind)
    await world.create("persistentvolumeclaims", world.claim("data", kind=kind))
    claim = await world.until(is_bound, "persistentvolumeclaims", "data")
    assert claim["spec"]["volumeName"] == sizes["2Gi"]


async def test_a_claim_can_name_its_volume(world: World) -> None:
    kind = world.unique("class")
    await world.volume(None, "somewhere", size="1Gi", kind=kind)
    wanted = await world.volume(None, "somewhere", size="8Gi", kind=kind)
    body = world.claim("data", kind=kind)
    body["spec"]["volumeName"] = wanted
    await world.create("persistentvolumeclaims", body)
    claim = await world.until(is_bound, "persistentvolumeclaims", "data")
    assert claim["spec"]["volumeName"] == wanted


async def test_a_volume_whose_claim_is_gone_is_released_and_not_given_to_another(
    world: World, client: KubeClient
) -> None:
    name = await world.volume("data", "somewhere")
    await client.delete("persistentvolumeclaims", "data", world.namespace)
    await world.until(
        lambda volume: volume["status"]["phase"] == "Released", "persistentvolumes", name, namespace=""
    )
    created = await world.create("persistentvolumeclaims", world.claim("data"))
    assert created["status"]["phase"] == "Pending"


async def test_a_volume_in_use_outlives_its_deletion(world: World, client: KubeClient) -> None:
    name = await world.volume("data", "somewhere")
    await client.delete("persistentvolumes", name)
    volume = await client.get("persistentvolumes", name)
    assert volume["metadata"]["deletionTimestamp"]
    await client.delete("persistentvolumeclaims", "data", world.namespace)
    await world.until_gone("persistentvolumes", name, volume["metadata"]["uid"], namespace="")
