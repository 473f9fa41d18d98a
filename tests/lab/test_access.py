"""Who may do what: client certificates, RBAC, and each verb that the operation needs, granted alone."""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
import pytest

from lab.control_plane import ControlPlane
from lab.kube_client import ApiError, KubeClient
from lab.kubeconfig import Access, read_kubeconfig
from lab.pki import AdminPki
from tests.lab.world import World

Json = dict[str, Any]


@pytest.fixture
def stranger(control_plane: ControlPlane, pki: AdminPki, world: World) -> KubeClient:
    """Somebody with a valid certificate, a group, and no rights."""
    pair = pki.client(world.unique("alice"), user="alice", group="operators")
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(pair.certificate, pair.key)
    return KubeClient(Access(control_plane.url, context))


async def grant(world: World, rules: list[Json], subject: Json) -> None:
    """Bind a Role with these rules to a user or a group in the test's namespace."""
    await world.create("roles", {"metadata": {"name": "r"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", **subject}
    await world.create(
        "rolebindings", {"metadata": {"name": "r"}, "roleRef": reference, "subjects": [subject]}
    )


async def until_allowed(call: Any) -> Any:
    """Repeat a call until the authorizer has heard of the new rule."""
    for attempt in range(200):
        try:
            return await call()
        except ApiError as error:
            if error.code != 403 or attempt == 199:
                raise
    raise AssertionError


async def test_nobody_is_anonymous(control_plane: ControlPlane, pki: AdminPki) -> None:
    context = ssl.create_default_context(cafile=str(pki.ca))
    async with KubeClient(Access(control_plane.url, context)) as nobody:
        with pytest.raises(ApiError) as refusal:
            await nobody.request("GET", "/api/v1/namespaces")
        assert (refusal.value.code, refusal.value.reason) == (401, "Unauthorized")


async def test_a_certificate_of_another_authority_is_refused(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, pki: AdminPki
) -> None:
    other = AdminPki(tmp_path_factory.mktemp("other"))
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(other.admin.certificate, other.admin.key)
    async with KubeClient(Access(control_plane.url, context)) as impostor:
        with pytest.raises((ApiError, aiohttp.ClientError)) as refusal:
            await impostor.request("GET", "/api/v1/namespaces")
        assert getattr(refusal.value, "code", 401) == 401


async def test_the_server_is_who_the_kubeconfig_says(control_plane: ControlPlane) -> None:
    access = read_kubeconfig(control_plane.kubeconfig)
    assert access.server == control_plane.url
    assert access.context.verify_mode == ssl.CERT_REQUIRED


async def test_without_a_rule_everything_is_forbidden(world: World, stranger: KubeClient) -> None:
    async with stranger:
        error = await world.refused(403, stranger.list("pods", world.namespace))
        assert error.reason == "Forbidden"
        assert error.message == (
            'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace '
            f'"{world.namespace}"'
        )
        at_cluster_scope = await world.refused(403, stranger.list("pods"))
        assert at_cluster_scope.message.endswith("at the cluster scope")


async def test_everybody_may_ask_for_the_version_and_the_kinds(stranger: KubeClient) -> None:
    async with stranger:
        assert (await stranger.request("GET", "/version"))["major"] == "1"
        assert (await stranger.request("GET", "/api"))["versions"] == ["v1"]


@pytest.mark.parametrize(
    "subject", [{"kind": "User", "name": "alice"}, {"kind": "Group", "name": "operators"}]
)
async def test_a_rule_allows_its_verbs_on_its_resources(
    world: World, stranger: KubeClient, subject: Json
) -> None:
    await grant(world, [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}], subject)
    async with stranger:
        await until_allowed(lambda: stranger.list("configmaps", world.namespace))
        await world.refused(403, stranger.list("secrets", world.namespace))
        await world.refused(403, stranger.create("configmaps", {"metadata": {"name": "c"}}, world.namespace))


async def test_a_rule_can_name_its_objects(world: World, stranger: KubeClient) -> None:
    rule = {
        "apiGroups": ["apps"],
        "resources": ["statefulsets"],
        "verbs": ["get", "patch"],
        "resourceNames": ["etcd"],
    }
    await grant(world, [rule], {"kind": "User", "name": "alice"})
    await world.stateful_set("etcd", replicas=0)
    await world.stateful_set("other", replicas=0)
    async with stranger:
        await until_allowed(lambda: stranger.get("statefulsets", "etcd", world.namespace))
        await world.refused(403, stranger.get("statefulsets", "other", world.namespace))
        await world.refused(403, stranger.list("statefulsets", world.namespace))


async def test_a_list_of_one_name_is_allowed_by_a_rule_that_names_it(
    world: World, stranger: KubeClient
) -> None:
    rule = {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["list", "watch"]}
    await grant(world, [rule | {"resourceNames": ["etcd"]}], {"kind": "User", "name": "alice"})
    await world.stateful_set("etcd", replicas=0)
    async with stranger:
        only = {"fieldSelector": "metadata.name=etcd"}
        await until_allowed(lambda: stranger.list("statefulsets", world.namespace, **only))
        async for kind, _ in stranger.watch("statefulsets", world.namespace, **only):
            assert kind == "ADDED"
            break
        other = stranger.list("statefulsets", world.namespace, fieldSelector="metadata.name=other")
        await world.refused(403, other)


async def test_a_service_account_is_known_by_its_full_name(
    world: World, control_plane: ControlPlane, pki: AdminPki
) -> None:
    """By a token in a cluster; by a certificate here, where no controller makes tokens."""
    pair = pki.client("robot", user="system:serviceaccount:robots:robot")
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(pair.certificate, pair.key)
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "robots", "apiGroup": ""}
    await grant(world, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}], subject)
    async with KubeClient(Access(control_plane.url, context)) as robot:
        await until_allowed(lambda: robot.list("pods", world.namespace))
        await world.refused(403, robot.list("pods", "default"))


async def test_an_eviction_needs_its_own_right_dry_run_too(world: World, stranger: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    subject = {"kind": "User", "name": "alice"}
    await grant(world, [{"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}], subject)
    async with stranger:
        await until_allowed(lambda: stranger.evict("p", world.namespace, dryRun="All"))
        await world.refused(403, stranger.delete("pods", "p", world.namespace))


async def test_a_subresource_is_not_in_its_resource(world: World, stranger: KubeClient) -> None:
    await world.pod(nodeName="somewhere")
    subject = {"kind": "User", "name": "alice"}
    await grant(world, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}], subject)
    async with stranger:
        await until_allowed(lambda: stranger.get("pods", "p", world.namespace))
        await world.refused(403, stranger.evict("p", world.namespace))


async def test_a_cluster_role_can_be_bound_in_one_namespace(
    world: World, client: KubeClient, stranger: KubeClient
) -> None:
    name = world.unique("reader")
    world.own("clusterroles", name)
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    await client.create("clusterroles", {"metadata": {"name": name}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}
    body = {"metadata": {"name": "r"}, "roleRef": reference, "subjects": [subject]}
    await world.create("rolebindings", body)
    async with stranger:
        await until_allowed(lambda: stranger.list("pods", world.namespace))
        await world.refused(403, stranger.list("pods", "default"))


async def test_a_cluster_role_binding_holds_everywhere(
    world: World, client: KubeClient, stranger: KubeClient
) -> None:
    name = world.unique("nodes")
    world.own("clusterroles", name)
    world.own("clusterrolebindings", name)
    rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    await client.create("clusterroles", {"metadata": {"name": name}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    await client.create("clusterrolebindings", binding)
    async with stranger:
        await until_allowed(lambda: stranger.list("nodes"))


async def test_one_can_ask_what_one_may(world: World, stranger: KubeClient, client: KubeClient) -> None:
    subject = {"kind": "User", "name": "alice"}
    await grant(world, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}], subject)

    async def may(who: KubeClient, **attributes: str) -> bool:
        spec = {"resourceAttributes": {"namespace": world.namespace, **attributes}}
        review = await who.create("selfsubjectaccessreviews", {"spec": spec})
        return bool(review["status"]["allowed"])

    async with stranger:
        await until_allowed(lambda: stranger.list("pods", world.namespace))
        assert await may(stranger, verb="list", resource="pods")
        assert not await may(stranger, verb="delete", resource="pods")
        assert not await may(stranger, verb="create", resource="pods", subresource="eviction")
    assert await may(client, verb="delete", resource="pods")
