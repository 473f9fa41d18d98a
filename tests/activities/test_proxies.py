"""The way to the API server: the proxy of the environment, as for kubectl, and nobody's passwords."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from kubernetes.aio.client import Configuration

from replace_etcd.errors import NotStarted
from replace_etcd.kubernetes_cluster import KubernetesCluster

API_SERVER = "http://api.admin.example"  # nobody resolves it: a proxy would


class Gate:
    """A server that answers as a proxy, or as an API server, and notes what it was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.authorization: list[str | None] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request.host)
        self.authorization.append(request.headers.get("Authorization"))
        if "/exec" in request.path:
            return web.Response(status=403)
        return web.json_response({"gitVersion": "v1.34.4"})


@pytest.fixture
async def gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "no_proxy",
        "NO_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "REQUEST_METHOD",
    ):
        monkeypatch.delenv(name, raising=False)
    made = Gate()
    async with RawTestServer(made.answer) as server:
        made.url = f"http://{server.host}:{server.port}"
        yield made


async def asked_of(host: str, proxy: str | None = None) -> str:
    """Ask for the version, and for an exec."""
    configuration = Configuration(host=host)
    configuration.proxy = proxy
    cluster = KubernetesCluster(configuration)
    try:
        with pytest.raises(NotStarted):
            await cluster.execute("n", "p", "main", ["true"], seconds=10)
        return await cluster.version()
    finally:
        await cluster.close()


async def test_requests_and_commands_take_the_proxy_of_the_environment(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", gate.url)
    assert await asked_of(API_SERVER) == "v1.34.4"
    assert [API_SERVER.endswith(host) for host in gate.asked] == [True, True]


async def test_what_is_not_to_be_proxied_is_not(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert await asked_of(gate.url) == "v1.34.4"


async def test_the_proxy_of_the_kubeconfig_comes_first(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:1")
    assert await asked_of(API_SERVER, proxy=gate.url) == "v1.34.4"


async def test_no_password_is_taken_from_netrc(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert await asked_of(gate.url) == "v1.34.4"
    assert gate.authorization == [None, None]
