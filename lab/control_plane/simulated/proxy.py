"""Exec and logs: the API server hands them to the node agent of the pod's node, over TLS.

Frames travel as they are, pings too: a client's heartbeat must reach the node agent, or a frozen one would
seem alive. A handshake that fails there is answered here, with 404, 400 or 500 as a real API server does.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.errors import StatusError, bad_request, internal

Json = dict[str, Any]

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "channel.k8s.io")
EXEC_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
LOG_OPTIONS = ("follow", "previous", "tailLines", "sinceSeconds", "limitBytes", "timestamps")
MAX_MESSAGE = 64 * 2**20


class KubeletProxy:
    """Connections to the node agents, presenting the kubelet client certificate."""

    def __init__(self, cluster: Cluster, certificate: Path, key: Path) -> None:
        self._cluster = cluster
        self._context = ssl.create_default_context()
        self._context.check_hostname = False  # as without --kubelet-certificate-authority
        self._context.verify_mode = ssl.CERT_NONE
        self._context.load_cert_chain(certificate, key)
        self._session: aiohttp.ClientSession | None = None

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    async def exec(self, request: web.Request, namespace: str, name: str) -> web.StreamResponse:
        """Relay one command's streams."""
        url = self._url(request, "exec", namespace, name)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise bad_request("Upgrade request required")
        query = [("command", word) for word in request.query.getall("command", [])]
        wanted = {flag: request.query.get(name) in ("1", "true") for name, flag in EXEC_FLAGS.items()}
        query += [(flag, "1") for flag, given in wanted.items() if given]
        offered = request.headers.get("Sec-WebSocket-Protocol", "").replace(" ", "").split(",")
        protocols = [protocol for protocol in offered if protocol in PROTOCOLS]
        backend = await self._dial(url, query, protocols)
        try:
            chosen = (backend.protocol,) if backend.protocol else ()
            front = web.WebSocketResponse(
                protocols=chosen, autoping=False, autoclose=False, compress=False, max_msg_size=MAX_MESSAGE
            )
            await front.prepare(request)
            await _relay(front, backend)
        finally:
            await backend.close()
        return front

    async def log(self, request: web.Request, namespace: str, name: str) -> web.StreamResponse:
        """Relay a container's log."""
        url = self._url(request, "containerLogs", namespace, name)
        query = {option: request.query[option] for option in LOG_OPTIONS if option in request.query}
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        try:
            async with self._client.get(url, params=query, timeout=aiohttp.ClientTimeout(None)) as answer:
                if answer.status >= 400:
                    raise StatusError(answer.status, "", (await answer.text()).strip())
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        except aiohttp.ClientError as error:
            raise internal(f"Get {url!r}: {error}") from None
        return response

    async def _dial(
        self, url: str, query: list[tuple[str, str]], protocols: list[str]
    ) -> aiohttp.ClientWebSocketResponse:
        try:
            return await self._client.ws_connect(
                url,
                params=query,
                protocols=protocols,
                autoping=False,
                autoclose=False,
                max_msg_size=MAX_MESSAGE,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise StatusError(error.status, "", error.message) from None
        except (aiohttp.ClientError, OSError) as error:
            raise StatusError(500, "InternalError", f"error dialing backend: {error}") from None

    def _url(self, request: web.Request, what: str, namespace: str, name: str) -> str:
        pod = self._cluster.get(self._cluster.resource("pods"), namespace, name)
        container = _container(pod, request.query.get("container", ""))
        node_name = pod["spec"].get("nodeName")
        if not node_name:
            raise bad_request(f"pod {name} does not have a host assigned")
        node = self._cluster.get(self._cluster.resource("nodes"), "", node_name)
        status = node.get("status", {})
        addresses = {found["type"]: found["address"] for found in status.get("addresses", ())}
        endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
        address = addresses.get("InternalIP") or addresses.get("Hostname") or node_name
        return f"https://{address}:{endpoint.get('Port', 10250)}/{what}/{namespace}/{name}/{container}"


def _container(pod: Json, wanted: str) -> str:
    """Name the container that is meant; 400 when it is none of the pod's, or when there are several."""
    name = pod["metadata"]["name"]
    names = [container["name"] for container in pod["spec"]["containers"]]
    if not wanted and len(names) > 1:
        listed = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    if wanted and wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    return wanted or str(names[0])


async def _relay(front: web.WebSocketResponse, backend: aiohttp.ClientWebSocketResponse) -> None:
    """Copy frames both ways until one side ends; then end the other with the same close code."""
    directions = [
        asyncio.create_task(_copy(front, backend)),
        asyncio.create_task(_copy(backend, front)),
    ]
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in directions:
            task.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        with suppress(ConnectionError, RuntimeError, TimeoutError):
            await front.close(code=backend.close_code or aiohttp.WSCloseCode.OK)


WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _copy(source: WebSocket, target: WebSocket) -> None:
    with suppress(ConnectionError, RuntimeError):
        while True:
            message = await source.receive()
            if message.type == aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type == aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type == aiohttp.WSMsgType.PING:
                await target.ping(message.data)
            elif message.type == aiohttp.WSMsgType.PONG:
                await target.pong(message.data)
            else:
                return
