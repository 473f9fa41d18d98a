"""Creating, reading, replacing: identity, versions, conflicts, and what the API server fills in or refuses."""

from __future__ import annotations

from typing import Any

import pytest

from lab.kube_client import KubeClient
from tests.lab.world import World, stateful_set

CONFIG = {"metadata": {"name": "c"}, "data": {"a": "1"}}


async def test_a_new_object_has_an_identity(world: World) -> None:
    created = await world.create("configmaps", CONFIG)
    metadata = created["metadata"]
    assert {"uid", "resourceVersion", "creationTimestamp"} <= metadata.keys()
    assert metadata["namespace"] == world.namespace
    assert (created["kind"], created["apiVersion"]) == ("ConfigMap", "v1")


async def test_a_name_is_taken_once(world: World) -> None:
    await world.create("configmaps", CONFIG)
    error = await world.refused(409, world.create("configmaps", CONFIG))
    assert error.reason == "AlreadyExists"
    assert error.message == 'configmaps "c" already exists'
    assert error.status["details"] == {"name": "c", "kind": "configmaps"}


async def test_what_does_not_exist_is_not_found_by_name(world: World) -> None:
    error = await world.refused(404, world.get("statefulsets", "none"))
    assert error.reason == "NotFound"
    assert error.message == 'statefulsets.apps "none" not found'
    assert error.status["details"] == {"name": "none", "group": "apps", "kind": "statefulsets"}


async def test_a_kind_that_is_not_served_is_not_found(world: World, client: KubeClient) -> None:
    error = await world.refused(404, client.request("GET", "/apis/apps/v1/nonsense"))
    assert error.code == 404


async def test_a_namespace_must_exist(world: World, client: KubeClient) -> None:
    error = await world.refused(404, client.create("configmaps", CONFIG, "no-such-namespace"))
    assert error.message == 'namespaces "no-such-namespace" not found'


async def test_a_new_object_must_not_carry_a_resource_version(world: World) -> None:
    """It is answered with 500, which a naive retry would repeat for ever."""
    body = {"metadata": {"name": "c", "resourceVersion": "1"}}
    error = await world.refused(500, world.create("configmaps", body))
    assert "resourceVersion should not be set on objects to be created" in error.message


async def test_uid_and_status_in_a_new_object_are_ignored(world: World) -> None:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"a": "b"}}}
    metadata = {"name": "p", "uid": "11111111-2222-3333-4444-555555555555", "managedFields": []}
    status = {"disruptionsAllowed": 7, "currentHealthy": 7, "desiredHealthy": 1, "expectedPods": 7}
    created = await world.create(
        "poddisruptionbudgets", {"metadata": metadata, "spec": spec, "status": status}
    )
    assert created["metadata"]["uid"] != metadata["uid"]
    assert created["status"]["disruptionsAllowed"] == 0


async def test_a_name_can_be_generated(world: World) -> None:
    created = await world.create("configmaps", {"metadata": {"generateName": "x-"}})
    name = created["metadata"]["name"]
    assert name.startswith("x-")
    assert len(name) == 7


async def test_a_bad_name_is_invalid(world: World) -> None:
    error = await world.refused(422, world.create("configmaps", {"metadata": {"name": "No_Good"}}))
    assert error.reason == "Invalid"
    assert error.status["details"]["causes"][0]["field"] == "metadata.name"


async def test_the_body_must_name_the_namespace_of_the_path(world: World) -> None:
    body = {"metadata": {"name": "c", "namespace": "default"}}
    error = await world.refused(400, world.create("configmaps", body))
    assert error.reason == "BadRequest"


async def test_a_dry_run_creates_nothing(world: World, client: KubeClient) -> None:
    shown = await client.create("configmaps", CONFIG, world.namespace, dryRun="All")
    assert shown["metadata"]["uid"]
    assert await client.find("configmaps", "c", world.namespace) is None


async def test_replacing_an_older_version_is_a_conflict(world: World, client: KubeClient) -> None:
    first = await world.create("configmaps", CONFIG)
    await client.replace("configmaps", first | {"data": {"a": "2"}}, world.namespace)
    error = await world.refused(
        409, client.replace("configmaps", first | {"data": {"a": "3"}}, world.namespace)
    )
    assert error.reason == "Conflict"
    assert error.message == (
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_replacing_another_life_of_the_name_is_a_conflict(world: World, client: KubeClient) -> None:
    first = await world.create("configmaps", CONFIG)
    await client.delete("configmaps", "c", world.namespace)
    await world.create("configmaps", CONFIG)
    body = {"metadata": {"name": "c", "uid": first["metadata"]["uid"]}, "data": {}}
    error = await world.refused(409, client.replace("configmaps", body, world.namespace))
    assert "Precondition failed: UID in precondition" in error.message


async def test_replacing_without_a_version_wins(world: World, client: KubeClient) -> None:
    await world.create("configmaps", CONFIG)
    replaced = await client.replace("configmaps", CONFIG | {"data": {"b": "2"}}, world.namespace)
    assert replaced["data"] == {"b": "2"}


async def test_a_change_that_changes_nothing_keeps_the_version(world: World, client: KubeClient) -> None:
    first = await world.create("configmaps", CONFIG)
    again = await client.patch("configmaps", "c", {"data": {"a": "1"}}, world.namespace)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_generation_counts_changes_of_the_spec_alone(world: World, client: KubeClient) -> None:
    created = await world.stateful_set(replicas=0)
    assert created["metadata"]["generation"] == 1
    labelled = await client.patch(
        "statefulsets", "etcd", {"metadata": {"labels": {"a": "b"}}}, world.namespace
    )
    assert labelled["metadata"]["generation"] == 1
    edited = await client.patch("statefulsets", "etcd", {"spec": {"minReadySeconds": 1}}, world.namespace)
    assert edited["metadata"]["generation"] == 2


async def test_status_is_written_through_its_subresource_alone(world: World, client: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    ignored = await client.patch("pods", "p", {"status": {"message": "no"}}, world.namespace)
    assert "message" not in ignored["status"]
    body = {"status": {"message": "yes"}, "spec": {"priority": 9}}
    written = await client.patch("pods", "p", body, world.namespace, subresource="status")
    assert written["status"]["message"] == "yes"
    assert written["spec"]["priority"] == 0


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (None, {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
        ({"type": "RollingUpdate"}, {"type": "RollingUpdate"}),
        (
            {"type": "RollingUpdate", "rollingUpdate": {}},
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        ),
        ({"type": "OnDelete"}, {"type": "OnDelete"}),
    ],
)
async def test_the_update_strategy_that_is_left_out_differs_from_the_one_written(
    world: World, written: dict[str, Any] | None, stored: dict[str, Any]
) -> None:
    """A restore must put back exactly what was there."""
    given: dict[str, Any] = {} if written is None else {"updateStrategy": written}
    created = await world.stateful_set(replicas=0, **given)
    assert created["spec"]["updateStrategy"] == stored
    assert created["spec"]["podManagementPolicy"] == "OrderedReady"


async def test_on_delete_does_not_bear_a_rolling_update(world: World) -> None:
    strategy = {"type": "OnDelete", "rollingUpdate": {"partition": 0}}
    error = await world.refused(422, world.stateful_set(updateStrategy=strategy))
    assert error.status["details"]["causes"][0]["field"] == "spec.updateStrategy.rollingUpdate"


async def test_a_pod_is_filled_in(world: World) -> None:
    spec = (await world.pod(nodeName="somewhere"))["spec"]
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["restartPolicy"] == "Always"
    tolerated = {(found["key"], found["effect"], found["tolerationSeconds"]) for found in spec["tolerations"]}
    assert tolerated == {
        ("node.kubernetes.io/not-ready", "NoExecute", 300),
        ("node.kubernetes.io/unreachable", "NoExecute", 300),
    }


async def test_a_new_pod_is_pending(world: World) -> None:
    created = await world.pod(nodeName="somewhere")
    assert created["status"]["phase"] == "Pending"


async def test_a_pod_needs_a_container(world: World) -> None:
    error = await world.refused(
        422, world.create("pods", {"metadata": {"name": "p"}, "spec": {"containers": []}})
    )
    assert error.status["details"]["causes"][0]["field"] == "spec.containers"


async def test_most_of_a_pod_cannot_be_changed(world: World, client: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    change = {"spec": {"terminationGracePeriodSeconds": 1}}
    error = await world.refused(422, client.patch("pods", "p", change, world.namespace))
    assert "pod updates may not change fields other than" in error.message


async def test_most_of_a_stateful_set_cannot_be_changed(world: World, client: KubeClient) -> None:
    await world.stateful_set(replicas=0)
    change = {"spec": {"serviceName": "other"}}
    error = await world.refused(422, client.patch("statefulsets", "etcd", change, world.namespace))
    assert "updates to statefulset spec for fields other than" in error.message


async def test_a_stateful_set_selects_its_own_template(world: World) -> None:
    body = stateful_set("etcd", 0)
    body["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    error = await world.refused(422, world.create("statefulsets", body))
    assert error.status["details"]["causes"][0]["field"] == "spec.template.metadata.labels"


async def test_a_budget_has_one_of_two_bounds(world: World) -> None:
    error = await world.refused(422, world.budget(minAvailable=1, maxUnavailable=1))
    assert "minAvailable and maxUnavailable cannot be both set" in error.message


async def test_secrets_can_be_written_as_text(world: World) -> None:
    created = await world.create("secrets", {"metadata": {"name": "s"}, "stringData": {"a": "hello"}})
    assert created["data"] == {"a": "aGVsbG8="}
    assert created["type"] == "Opaque"


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app=a", {"one"}),
        ("app!=a", {"two", "three"}),
        ("app in (a,b)", {"one", "two"}),
        ("app notin (a)", {"two", "three"}),
        ("tier", {"two"}),
        ("!app", {"three"}),
        ("app=b,tier=x", {"two"}),
    ],
)
async def test_labels_select(world: World, client: KubeClient, selector: str, found: set[str]) -> None:
    for name, labels in (("one", {"app": "a"}), ("two", {"app": "b", "tier": "x"}), ("three", {"own": "1"})):
        await world.create("configmaps", {"metadata": {"name": name, "labels": labels}})
    listed = await client.list("configmaps", world.namespace, labelSelector=selector)
    assert {obj["metadata"]["name"] for obj in listed} - {"kube-root-ca.crt"} == found


async def test_fields_select_pods_by_node_and_name(world: World, client: KubeClient) -> None:
    await world.pod("a", nodeName="here")
    await world.pod("b", nodeName="there")
    on_node = await client.list("pods", world.namespace, fieldSelector="spec.nodeName=here")
    assert [pod["metadata"]["name"] for pod in on_node] == ["a"]
    named = await client.list("pods", world.namespace, fieldSelector="metadata.name!=a")
    assert [pod["metadata"]["name"] for pod in named] == ["b"]


async def test_a_list_over_all_namespaces_has_those_of_each(world: World, client: KubeClient) -> None:
    await world.create("configmaps", CONFIG)
    listed = await client.list("configmaps", fieldSelector="metadata.name=c")
    assert world.namespace in {obj["metadata"]["namespace"] for obj in listed}


async def test_a_list_carries_a_resource_version(world: World, client: KubeClient) -> None:
    answer = await client.request("GET", f"/api/v1/namespaces/{world.namespace}/pods")
    assert answer["kind"] == "PodList"
    assert int(answer["metadata"]["resourceVersion"]) > 0
