"""The output of a command, handed on as it comes: whole only where a Status has ended it."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from kubernetes.aio.client import Configuration

from replace_etcd.cluster import AdminCluster, CommandResult, Sink
from replace_etcd.errors import NotStarted, OutcomeUnknown
from replace_etcd.kubernetes_cluster import KubernetesCluster
from tests.lab.test_exec import node
from tests.lab.world import World

__all__ = ["node"]


class Got:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    async def take(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    @property
    def output(self) -> bytes:
        return b"".join(self.chunks)


async def stream(
    cluster: AdminCluster, world: World, sink: Sink, *command: str, pod: str = "p", silence: float = 30
) -> CommandResult:
    return await cluster.stream(
        world.namespace, pod, "main", list(command), sink, seconds=60, silence=silence
    )


async def test_bytes_go_to_the_sink_and_what_is_said_to_the_result(
    cluster: AdminCluster, world: World, node: str
) -> None:
    await world.pod(nodeName=node)
    got = Got()
    script = "printf '\\377\\000\\001'; echo oh >&2; exit 4"
    ended = await stream(cluster, world, got.take, "sh", "-c", script)
    assert got.output == b"\xff\x00\x01"
    assert (ended.stdout, ended.stderr, ended.exit_code) == ("", "oh\n", 4)


async def test_a_connection_that_breaks_in_the_middle_is_no_end(
    cluster: AdminCluster, world: World, node: str
) -> None:
    await world.pod("cut", nodeName=node)
    got = Got()
    with pytest.raises(OutcomeUnknown):
        await stream(cluster, world, got.take, "true", pod="cut")
    assert got.output == b"so far"


async def test_silence_has_a_limit_of_its_own(cluster: AdminCluster, world: World, node: str) -> None:
    await world.pod("silent", nodeName=node)
    got = Got()
    with pytest.raises(OutcomeUnknown, match="no answer in time"):
        await stream(cluster, world, got.take, "true", pod="silent", silence=0.5)
    assert got.output == b"so far"


async def test_a_command_that_goes_on_for_too_long_is_not_waited_for(
    cluster: AdminCluster, world: World, node: str
) -> None:
    """The sink takes its time, so that there is always something to read: the limit holds all the same."""
    await world.pod(nodeName=node)

    async def slowly(chunk: bytes) -> None:
        await asyncio.sleep(0.6)

    with pytest.raises(OutcomeUnknown, match="no answer in time"):
        await cluster.stream(
            world.namespace, "p", "main", ["sh", "-c", "echo a; echo b >&2"], slowly, seconds=0.5, silence=30
        )


async def test_an_error_of_the_sink_arrives_as_it_is(cluster: AdminCluster, world: World, node: str) -> None:
    """A full disk is an OSError, as a broken connection is: the one must not pass for the other."""
    await world.pod(nodeName=node)

    async def full(chunk: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await stream(cluster, world, full, "echo", "x")


async def test_a_command_is_sent_once_though_its_connection_breaks_before_an_answer() -> None:
    """It may have been started: aiohttp would send it again, and two of it would run."""
    sent: list[str] = []

    async def break_it(request: web.BaseRequest) -> web.Response:
        sent.append(request.path)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with RawTestServer(break_it) as server:
        cluster = KubernetesCluster(Configuration(host=f"http://{server.host}:{server.port}"))
        try:
            with pytest.raises(OutcomeUnknown):
                await cluster.execute("n", "p", "main", ["true"], seconds=10)
        finally:
            await cluster.close()
    assert sent == ["/api/v1/namespaces/n/pods/p/exec"]


async def test_a_pod_that_is_not_there_never_started(cluster: AdminCluster, world: World) -> None:
    with pytest.raises(NotStarted):
        await stream(cluster, world, Got().take, "true", pod="none")
