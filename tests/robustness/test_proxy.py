"""The proxy: each fault looks to the worker's own client like the thing it stands for, and takes effect or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.control_plane import ControlPlane
from lab.kubeconfig import read_kubeconfig
from lab.pki import AdminPki
from replace_etcd.cluster import CONFIG_MAP, AdminCluster
from replace_etcd.errors import ClusterError, Conflict, Forbidden, NotStarted, OutcomeUnknown, Unreachable
from tests.lab.conftest import client, pki, run_control_plane, world
from tests.lab.node_agent import NodeAgent
from tests.lab.world import World
from tests.robustness.proxy import (
    Act,
    Held,
    Proxy,
    Rule,
    answers,
    drop_in_the_middle,
    lose_the_answer,
    namespace_of,
    on,
    reset,
)
from tests.robustness.worker_process import connected

__all__ = ["client", "pki", "world"]

WITHIN = 30.0


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory, pki: AdminPki) -> Iterator[ControlPlane]:
    """The proxy is the same for both control planes: one is enough."""
    with run_control_plane("simulated", tmp_path_factory.mktemp("proxied"), pki) as started:
        yield started


@pytest.fixture
async def proxy(control_plane: ControlPlane) -> AsyncIterator[Proxy]:
    async with Proxy(read_kubeconfig(control_plane.kubeconfig)) as running:
        yield running


@asynccontextmanager
async def through(proxy: Proxy, activity: str = "a_step") -> AsyncIterator[AdminCluster]:
    """The worker's own client, through the proxy."""
    cluster = connected(proxy.address(activity))
    try:
        yield cluster
    finally:
        await cluster.close()


def config_map(world: World, name: str = "c") -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": world.namespace},
    }


def rule(proxy: Proxy, world: World, act: Act, method: str = "POST", times: int | None = 1) -> Rule:
    made = Rule(on(method=method), act, times)
    proxy.rules[world.namespace] = [made]
    return made


async def created(world: World, name: str = "c") -> bool:
    return await world.client.find("configmaps", name, world.namespace) is not None


async def test_without_a_rule_everything_passes(proxy: Proxy, world: World) -> None:
    async with through(proxy) as cluster:
        made = await cluster.create(CONFIG_MAP, config_map(world), world.namespace)
        assert await cluster.get(CONFIG_MAP, "c", world.namespace) == made
        found = await cluster.wait_for(CONFIG_MAP, "c", world.namespace, lambda o: o is not None, seconds=10)
        assert found == made
        assert [o["metadata"]["name"] for o in await cluster.find(CONFIG_MAP, world.namespace)] == ["c"]


@pytest.mark.parametrize(
    ("status", "error"), [(500, ClusterError), (409, Conflict), (403, Forbidden), (429, ClusterError)]
)
async def test_an_answer_is_given_in_the_api_servers_place(
    proxy: Proxy, world: World, status: int, error: type[ClusterError]
) -> None:
    met = rule(proxy, world, answers(status))
    async with through(proxy) as cluster:
        with pytest.raises(error) as caught:
            await cluster.create(CONFIG_MAP, config_map(world), world.namespace)
        assert caught.value.status == status
        assert not await created(world)
        await cluster.create(CONFIG_MAP, config_map(world), world.namespace)
    assert met.met == 1


async def test_a_busy_server_says_when_to_ask_again(proxy: Proxy, world: World) -> None:
    met = rule(proxy, world, answers(429, retry_after=1))
    async with through(proxy) as cluster:
        await cluster.create(CONFIG_MAP, config_map(world), world.namespace)
    assert met.met == 1
    assert await created(world)


async def test_a_reset_leaves_nothing(proxy: Proxy, world: World) -> None:
    rule(proxy, world, reset)
    async with through(proxy) as cluster:
        with pytest.raises(Unreachable):
            await cluster.create(CONFIG_MAP, config_map(world), world.namespace)
    assert not await created(world)


async def test_a_lost_answer_leaves_its_effect(proxy: Proxy, world: World) -> None:
    rule(proxy, world, lose_the_answer)
    async with through(proxy) as cluster:
        with pytest.raises(Unreachable):
            await cluster.create(CONFIG_MAP, config_map(world), world.namespace)
    assert await created(world)


async def test_a_held_request_acts_when_it_is_let_go_and_nobody_waits_any_more(
    proxy: Proxy, world: World
) -> None:
    held = Held()
    rule(proxy, world, held)
    async with through(proxy) as cluster:
        create = asyncio.create_task(cluster.create(CONFIG_MAP, config_map(world), world.namespace))
        await asyncio.wait_for(held.arrived.wait(), WITHIN)
        create.cancel()
        await asyncio.gather(create, return_exceptions=True)
    assert not await created(world)
    held.release()
    await asyncio.wait_for(held.finished.wait(), WITHIN)
    assert await created(world)


async def test_a_held_request_can_be_lost(proxy: Proxy, world: World) -> None:
    held = Held()
    rule(proxy, world, held)
    held.lose()
    async with through(proxy) as cluster:
        with pytest.raises(Unreachable):
            await cluster.create(CONFIG_MAP, config_map(world), world.namespace)
    assert not await created(world)


async def test_a_rule_is_for_one_namespace_one_activity_and_the_nth_request(
    proxy: Proxy, world: World
) -> None:
    proxy.rules[world.namespace] = [Rule(on("a_step", "POST", r"/configmaps(\?|$)", nth=2), answers(500))]
    proxy.rules["elsewhere"] = [Rule(on(), answers(500), times=None)]
    async with through(proxy, "another_step") as other:
        await other.create(CONFIG_MAP, config_map(world, "c0"), world.namespace)
    async with through(proxy) as cluster:
        await cluster.create(CONFIG_MAP, config_map(world, "c1"), world.namespace)
        with pytest.raises(ClusterError):
            await cluster.create(CONFIG_MAP, config_map(world, "c2"), world.namespace)


@pytest.fixture
async def pod(world: World, pki: AdminPki) -> AsyncIterator[str]:
    """A pod whose commands really run."""
    async with NodeAgent(pki) as agent:
        node = await world.node()
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port}},
        }
        await world.client.patch("nodes", node, {"status": status}, subresource="status")
        await world.pod(nodeName=node)
        yield "p"


async def test_a_command_runs_through_it(proxy: Proxy, world: World, pod: str) -> None:
    async with through(proxy) as cluster:
        command = ["sh", "-c", "echo a b; echo c >&2; exit 3"]
        answer = await cluster.execute(world.namespace, pod, "main", command, seconds=WITHIN)
        assert (answer.stdout, answer.stderr, answer.exit_code) == ("a b\n", "c\n", 3)
        with pytest.raises(NotStarted):
            await cluster.execute(world.namespace, "nobody", "main", command, seconds=WITHIN)


@pytest.mark.parametrize("act", [lose_the_answer, drop_in_the_middle])
async def test_a_command_whose_connection_is_lost_acts_all_the_same(
    proxy: Proxy, world: World, pod: str, tmp_path: Path, act: Act
) -> None:
    rule(proxy, world, act, "GET")
    mark = tmp_path / "mark"
    async with through(proxy) as cluster:
        with pytest.raises(OutcomeUnknown):
            await cluster.execute(world.namespace, pod, "main", ["touch", str(mark)], seconds=WITHIN)
        async with asyncio.timeout(WITHIN):
            while not mark.exists():  # noqa: ASYNC110 - only the file tells
                await asyncio.sleep(0.02)


async def test_a_command_that_is_refused_at_the_handshake_never_starts(
    proxy: Proxy, world: World, pod: str, tmp_path: Path
) -> None:
    rule(proxy, world, answers(403), "GET")
    mark = tmp_path / "mark"
    async with through(proxy) as cluster:
        with pytest.raises(NotStarted):
            await cluster.execute(world.namespace, pod, "main", ["touch", str(mark)], seconds=WITHIN)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("path", "namespace"),
    [
        ("/api/v1/namespaces/n/pods/p", "n"),
        ("/apis/onprem.cluster.gke.io/v1alpha1/namespaces/n-gke-onprem-mgmt/onpremuserclusters/n", "n"),
        ("/api/v1/nodes/n.node", "n"),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn.node", "n"),
        ("/version", ""),
    ],
)
def test_the_namespace_is_read_from_the_request(path: str, namespace: str) -> None:
    assert namespace_of(path) == namespace
