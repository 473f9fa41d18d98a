"""The four kinds of PATCH, and how each of them fails."""

from __future__ import annotations

from typing import Any

import pytest

from lab.kube_client import APPLY_PATCH, STRATEGIC_MERGE_PATCH, KubeClient
from tests.lab.world import World

Json = dict[str, Any]


async def test_a_json_patch_replaces_and_tests(world: World, client: KubeClient) -> None:
    await world.stateful_set(replicas=0)
    created = await world.until(lambda sts: "observedGeneration" in sts["status"], "statefulsets", "etcd")
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": created["metadata"]["resourceVersion"]},
        {
            "op": "test",
            "path": "/spec/template/spec/containers/0/args/0",
            "value": "--initial-cluster-state=new",
        },
        {"op": "replace", "path": "/spec/template/spec/containers/0/args/0", "value": "existing"},
        {"op": "replace", "path": "/spec/updateStrategy", "value": {"type": "OnDelete"}},
    ]
    patched = await client.patch("statefulsets", "etcd", patch, world.namespace)
    assert patched["spec"]["template"]["spec"]["containers"][0]["args"] == ["existing"]
    assert patched["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert patched["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "test", "path": "/data/none", "value": "2"},
        {"op": "replace", "path": "/data/none/deep", "value": "2"},
        {"op": "remove", "path": "/data/none"},
    ],
)
async def test_a_json_patch_that_does_not_apply_is_invalid(
    world: World, client: KubeClient, operation: Json
) -> None:
    created = await world.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    add = {"op": "add", "path": "/data/b", "value": "x"}
    error = await world.refused(422, client.patch("configmaps", "c", [add, operation], world.namespace))
    assert error.reason == "Invalid"
    assert await world.get("configmaps", "c") == created


async def test_a_json_patch_that_tests_an_old_version_is_invalid_not_a_conflict(
    world: World, client: KubeClient
) -> None:
    await world.create("configmaps", {"metadata": {"name": "c"}})
    patch = [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]
    error = await world.refused(422, client.patch("configmaps", "c", patch, world.namespace))
    assert error.reason == "Invalid"


async def test_a_merge_patch_takes_a_field_away_with_null(world: World, client: KubeClient) -> None:
    await world.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}})
    patched = await client.patch("configmaps", "c", {"data": {"a": None, "c": "3"}}, world.namespace)
    assert patched["data"] == {"b": "2", "c": "3"}


async def test_a_patch_that_carries_an_old_version_is_a_conflict(world: World, client: KubeClient) -> None:
    first = await world.create("configmaps", {"metadata": {"name": "c"}})
    await client.patch("configmaps", "c", {"data": {"a": "1"}}, world.namespace)
    body = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "data": {"a": "2"}}
    error = await world.refused(409, client.patch("configmaps", "c", body, world.namespace))
    assert error.reason == "Conflict"


async def test_a_patch_cannot_move_to_another_uid(world: World, client: KubeClient) -> None:
    await world.create("configmaps", {"metadata": {"name": "c"}})
    body = {"metadata": {"uid": "11111111-2222-3333-4444-555555555555"}}
    error = await world.refused(422, client.patch("configmaps", "c", body, world.namespace))
    assert error.status["details"]["causes"][0]["field"] == "metadata.uid"


async def test_a_strategic_merge_finds_containers_by_name_and_replaces_arguments(
    world: World, client: KubeClient
) -> None:
    """kubectl edit sends it: the other fields of the container stay."""
    await world.stateful_set(replicas=0, args=["a", "b"])
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "args": ["c"]}]}}}}
    patched = await strategic(client, world, patch)
    container = patched["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["c"]
    assert container["image"] == "example.com/image:1"


async def test_a_strategic_merge_adds_and_removes_a_container(world: World, client: KubeClient) -> None:
    await world.stateful_set(replicas=0)
    added = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "x:1"}]}}}}
    assert set(names(await strategic(client, world, added))) == {"main", "side"}
    removed = {"spec": {"template": {"spec": {"containers": [{"$patch": "delete", "name": "side"}]}}}}
    assert names(await strategic(client, world, removed)) == ["main"]


async def test_a_strategic_merge_keeps_the_fields_of_the_update_strategy(
    world: World, client: KubeClient
) -> None:
    """OnDelete alone is refused where `rollingUpdate` stands: it has to be taken away in the same patch."""
    await world.stateful_set(replicas=0)
    on_delete: Json = {"spec": {"updateStrategy": {"type": "OnDelete"}}}
    error = await world.refused(422, strategic(client, world, on_delete))
    assert error.status["details"]["causes"][0]["field"] == "spec.updateStrategy.rollingUpdate"
    on_delete["spec"]["updateStrategy"]["rollingUpdate"] = None
    patched = await strategic(client, world, on_delete)
    assert patched["spec"]["updateStrategy"] == {"type": "OnDelete"}


async def test_a_strategic_merge_appends_a_finalizer_and_a_merge_patch_replaces_them(
    world: World, client: KubeClient
) -> None:
    await world.create("configmaps", {"metadata": {"name": "c", "finalizers": ["example.com/a"]}})
    more = {"metadata": {"finalizers": ["example.com/b"]}}
    merged = await client.patch("configmaps", "c", more, world.namespace, content_type=STRATEGIC_MERGE_PATCH)
    assert set(merged["metadata"]["finalizers"]) == {"example.com/a", "example.com/b"}
    none = await client.patch("configmaps", "c", {"metadata": {"finalizers": None}}, world.namespace)
    assert "finalizers" not in none["metadata"]


async def test_conditions_merge_by_type(world: World, client: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    for kind in ("A", "B"):
        body = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
        await client.patch(
            "pods", "p", body, world.namespace, subresource="status", content_type=STRATEGIC_MERGE_PATCH
        )
    pod = await world.get("pods", "p")
    assert {"A", "B"} <= {found["type"] for found in pod["status"]["conditions"]}


async def test_an_apply_creates_and_then_merges(world: World, client: KubeClient) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    created = await apply(client, world, body)
    again = await apply(client, world, body | {"data": {"a": "2"}})
    assert again["metadata"]["uid"] == created["metadata"]["uid"]
    assert again["data"] == {"a": "2"}


async def test_an_apply_of_a_former_life_is_refused(world: World, client: KubeClient) -> None:
    """What `kubectl apply --server-side` says to a backup of an object that was deleted."""
    metadata = {"name": "c", "uid": "11111111-2222-3333-4444-555555555555"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    error = await world.refused(409, apply(client, world, body))
    assert "uid mismatch" in error.message
    await world.create("configmaps", {"metadata": {"name": "c"}})
    error = await world.refused(422, apply(client, world, body))
    assert error.status["details"]["causes"][0]["field"] == "metadata.uid"


async def test_an_unknown_kind_of_patch_is_refused(world: World, client: KubeClient) -> None:
    await world.create("configmaps", {"metadata": {"name": "c"}})
    call = client.patch("configmaps", "c", {}, world.namespace, content_type="application/json")
    error = await world.refused(415, call)
    assert error.reason == "UnsupportedMediaType"


async def test_a_dry_run_patches_nothing(world: World, client: KubeClient) -> None:
    created = await world.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    shown = await client.patch("configmaps", "c", {"data": {"a": "2"}}, world.namespace, dryRun="All")
    assert shown["data"] == {"a": "2"}
    assert await world.get("configmaps", "c") == created


async def test_a_patch_of_nothing_is_not_found(world: World, client: KubeClient) -> None:
    error = await world.refused(404, client.patch("configmaps", "c", {"data": {}}, world.namespace))
    assert error.reason == "NotFound"


async def strategic(client: KubeClient, world: World, patch: Json) -> Json:
    return await client.patch(
        "statefulsets", "etcd", patch, world.namespace, content_type=STRATEGIC_MERGE_PATCH
    )


async def apply(client: KubeClient, world: World, body: Json) -> Json:
    return await client.patch(
        "configmaps", "c", body, world.namespace, content_type=APPLY_PATCH, fieldManager="test", force="true"
    )


def names(sts: Json) -> list[str]:
    return [container["name"] for container in sts["spec"]["template"]["spec"]["containers"]]
