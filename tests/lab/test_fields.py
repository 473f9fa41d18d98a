"""Fields that no kind has, and values of the wrong type: dropped with a warning, or refused where that is asked."""

from __future__ import annotations

from typing import Any

import pytest

from lab.kube_client import KubeClient
from tests.lab.world import World, stateful_set

Json = dict[str, Any]
KINDS: dict[str, tuple[Json, str]] = {
    "misspelt in the spec": ({"spec": {"replica": 1}}, "spec.replica"),
    "misspelt in a container": (
        {"spec": {"template": {"spec": {"containers": [{"name": "main", "arg": []}]}}}},
        "spec.template.spec.containers[0].arg",
    ),
    "at the top": ({"nonsense": True}, "nonsense"),
}


def misspelt(extra: Json) -> Json:
    body = stateful_set("etcd", 0)
    for field, value in extra.get("spec", {}).items():
        if field == "template":
            body["spec"]["template"]["spec"]["containers"][0] |= value["spec"]["containers"][0]
        else:
            body["spec"][field] = value
    return {**body, **{key: value for key, value in extra.items() if key != "spec"}}


@pytest.mark.parametrize("case", KINDS)
async def test_an_unknown_field_is_refused_under_strict_validation(
    world: World, client: KubeClient, case: str
) -> None:
    extra, path = KINDS[case]
    call = client.create("statefulsets", misspelt(extra), world.namespace, fieldValidation="Strict")
    error = await world.refused(400, call)
    assert error.reason == "BadRequest"
    assert error.message == (
        'StatefulSet in version "v1" cannot be handled as a StatefulSet: '
        f'strict decoding error: unknown field "{path}"'
    )


@pytest.mark.parametrize("case", KINDS)
async def test_an_unknown_field_is_dropped_with_a_warning_otherwise(
    world: World, client: KubeClient, case: str
) -> None:
    extra, path = KINDS[case]
    url = f"{client.server}/apis/apps/v1/namespaces/{world.namespace}/statefulsets"
    async with client.session.post(url, json=misspelt(extra)) as response:
        assert response.status == 201
        assert response.headers["Warning"] == f'299 - "unknown field \\"{path}\\""'
        created = await response.json()
    last = path.rpartition(".")[2]
    assert last not in {**created, **created["spec"], **created["spec"]["template"]["spec"]["containers"][0]}


async def test_an_unknown_field_in_a_patch_is_refused_under_strict_validation(
    world: World, client: KubeClient
) -> None:
    await world.stateful_set(replicas=0)
    patch = {"spec": {"replica": 1}}
    call = client.patch("statefulsets", "etcd", patch, world.namespace, fieldValidation="Strict")
    error = await world.refused(422, call)
    assert 'strict decoding error: unknown field "spec.replica"' in error.message
    dropped = await client.patch("statefulsets", "etcd", patch, world.namespace)
    assert "replica" not in dropped["spec"]


@pytest.mark.parametrize(
    "spec",
    [{"replicas": "3"}, {"replicas": True}, {"selector": "app=etcd"}, {"template": []}, {"serviceName": {}}],
)
async def test_a_value_of_the_wrong_type_is_a_bad_request(world: World, spec: Json) -> None:
    body = stateful_set("etcd", 0)
    body["spec"] |= spec
    error = await world.refused(400, world.create("statefulsets", body))
    assert error.reason == "BadRequest"
    assert "cannot unmarshal" in error.message


async def test_a_patch_to_a_value_of_the_wrong_type_is_refused(world: World, client: KubeClient) -> None:
    await world.stateful_set(replicas=0)
    patch = [{"op": "replace", "path": "/spec/replicas", "value": "3"}]
    with pytest.raises(Exception, match="cannot unmarshal string"):
        await client.patch("statefulsets", "etcd", patch, world.namespace)
