"""What an API server says beside yes and no: who are you, not now, that is too long ago."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.control_plane import ControlPlane
from lab.kube_client import KubeClient
from lab.kubeconfig import write_kubeconfig
from lab.pki import AdminPki
from replace_etcd import kubernetes_cluster
from replace_etcd.cluster import CONFIG_MAP, POD, AdminCluster
from replace_etcd.errors import ClusterError, NotStarted, Unauthenticated
from replace_etcd.kubernetes_cluster import connect
from tests.lab.conftest import KINDS
from tests.lab.world import World

FLOW = "flowcontrol.apiserver.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io"
ONLY_REAL = pytest.mark.parametrize("control_plane", [KINDS[1]], indirect=True)


@asynccontextmanager
async def connected(
    control_plane: ControlPlane, pki: AdminPki, directory: Path, name: str, **certificate: Any
) -> AsyncIterator[AdminCluster]:
    """The product's own connection, as somebody with a certificate of this kind."""
    path = directory / name
    write_kubeconfig(path, server=control_plane.url, ca=pki.ca, client=pki.client(name, **certificate))
    made = await connect(str(path), None)
    try:
        yield made
    finally:
        await made.close()


async def test_an_expired_certificate_is_said_in_one_sentence(
    control_plane: ControlPlane, pki: AdminPki, tmp_path: Path
) -> None:
    """A retry helps once it is renewed: this is no right that is missing."""
    late = connected(control_plane, pki, tmp_path, "late", lifetime=timedelta(seconds=-1))
    async with late as cluster:
        with pytest.raises(Unauthenticated) as caught:
            await cluster.get(POD, "p", "default")
        with pytest.raises(NotStarted, match=r"refused with 401.*certificate \(late\) expired"):
            await cluster.execute("default", "p", "main", ["true"], seconds=5)
    sentence = str(caught.value)
    assert "its client certificate (late) expired 20" in sentence
    assert sentence.endswith("renew it in the kubeconfig, and restart the worker")


@asynccontextmanager
async def too_busy_for(client: KubeClient, name: str, user: str) -> AsyncIterator[None]:
    """An API server whose priority and fairness has no seat for a user, until the block ends.

    A level without seats still carries out one request at a time: that one is here, and its body never ends.
    """
    level = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    limited = {"type": "Limited", "limited": level | {"limitResponse": {"type": "Reject"}}}
    levels, schemas = f"{FLOW}/prioritylevelconfigurations", f"{FLOW}/flowschemas"
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    rule = {
        "subjects": [
            {"kind": "User", "user": {"name": user}}
        ],  # matches a service account by its full name, too
        "resourceRules": [everything | {"clusterScope": True}],
    }
    schema = {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 2, "rules": [rule]}
    await client.create(levels, {"metadata": {"name": name}, "spec": limited})
    made = await client.create(schemas, {"metadata": {"name": name}, "spec": schema})
    await _until_classified(client, user, made["metadata"]["uid"])
    sitting = asyncio.create_task(_sit(client, user))
    try:
        yield
    finally:
        sitting.cancel()
        await client.delete(schemas, name)
        await client.delete(levels, name)


async def _until_classified(client: KubeClient, user: str, schema: str) -> None:
    """Until the server puts the user's requests where the new rules say; it tells in each answer where it did."""
    async with asyncio.timeout(30):
        while True:
            url, headers = f"{client.server}/api/v1/namespaces/default/pods", {"Impersonate-User": user}
            async with client.session.get(url, headers=headers) as answer:
                if answer.headers.get("X-Kubernetes-PF-FlowSchema-UID") == schema:
                    return
            await asyncio.sleep(0.05)


async def _sit(client: KubeClient, user: str) -> None:
    """Have the only seat, by a question that anybody may ask; again when the server ends it after a minute."""
    headers = {"Impersonate-User": user, "Content-Type": "application/json"}
    url = f"{client.server}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with client.session.post(url, data=endless(), headers=headers):
                pass
        await asyncio.sleep(0.05)


@ONLY_REAL
@pytest.mark.needs("time")
async def test_a_server_that_is_too_busy_is_asked_again_when_it_says(
    control_plane: ControlPlane,
    pki: AdminPki,
    client: KubeClient,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its 429 is no budget's word on an eviction."""
    monkeypatch.setattr(kubernetes_cluster, "REQUEST_SECONDS", 5.0)
    user = world.unique("busy")
    await _may_do_everything(client, world, user)
    pod = await world.pod(nodeName="somewhere")
    async with connected(control_plane, pki, tmp_path, user) as cluster:
        async with asyncio.timeout(30):
            while not await cluster.permitted("create", "", "configmaps", world.namespace):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with too_busy_for(client, world.unique("no-seat"), user):
            await _until_busy(cluster, world)
            with pytest.raises(ClusterError, match="429 : Too many requests, please try again later"):
                await cluster.evict(world.namespace, "p", uid=pod["metadata"]["uid"], dry_run=True)
            manifest = {"metadata": {"name": "patient"}}
            asked = asyncio.create_task(cluster.create(CONFIG_MAP, manifest, world.namespace))
            done, _ = await asyncio.wait({asked}, timeout=1)
            assert not done
        assert (await asked)["metadata"]["name"] == "patient"


async def _may_do_everything(client: KubeClient, world: World, user: str) -> None:
    world.own("clusterrolebindings", user)
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"apiGroup": RBAC, "kind": "User", "name": user}
    body = {"metadata": {"name": user}, "roleRef": reference, "subjects": [subject]}
    await client.create("clusterrolebindings", body)


async def _until_busy(cluster: AdminCluster, world: World) -> None:
    """A question that gets no answer in a second is being put off: the new rules have come through."""
    async with asyncio.timeout(60):
        while True:
            try:
                await asyncio.wait_for(cluster.find(POD, world.namespace), 0.7)
            except TimeoutError:
                return
            await asyncio.sleep(0.05)


async def test_a_watch_from_too_long_ago_begins_anew(
    control_plane: ControlPlane, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410 Gone, as a status or as the first event: the object is looked at again, nothing fails."""
    cluster = await connect(str(control_plane.kubeconfig), None)
    send = cluster._send
    late: list[str] = []

    async def of_the_first_version(method: str, path: str, query: dict[str, str], *rest: Any) -> Any:
        if "watch" in (query or {}) and not late:
            late.append(path)
            query = query | {"resourceVersion": "1"}
            await world.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
        return await send(method, path, query, *rest)

    monkeypatch.setattr(cluster, "_send", of_the_first_version)
    try:
        found = await cluster.wait_for(
            CONFIG_MAP, "c", world.namespace, lambda obj: obj is not None, seconds=20
        )
    finally:
        await cluster.close()
    assert late
    assert found is not None
    assert found["data"] == {"a": "1"}
