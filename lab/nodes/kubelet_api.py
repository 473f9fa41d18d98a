"""The HTTPS endpoint of a node, to which the API server forwards exec and logs.

Like a kubelet it wants the API server's client certificate from whoever calls.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from lab.nodes.records import ContainerRecord, PodRecord
from lab.nodes.remote_command import PROTOCOLS, RemoteCommand, Request
from lab.nodes.runtime import Runtime
from lab.pki import KeyPair

PORT = 10250
FOLLOW_PERIOD = 0.2
CHUNK = 64 * 1024


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def server_context(ca: str, pair: KeyPair) -> ssl.SSLContext:
    """TLS that refuses callers without a certificate of the admin cluster."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.certificate, pair.key)
    return context


class KubeletApi:
    """Serves one node; it can be closed and opened again while pods, and execs in them, go on."""

    def __init__(self, runtime: Runtime, address: str, context: ssl.SSLContext) -> None:
        self._runtime = runtime
        self._address = address
        self._context = context
        self._commands: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._thawed = asyncio.Event()

    async def start(self) -> None:
        """Listen on the node's address, and answer."""
        self._thawed.set()
        if self._runner is not None:
            return
        application = web.Application(middlewares=[self._while_thawed])
        application.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, PORT, ssl_context=self._context).start()

    async def stop(self) -> None:
        """Drop every connection; commands that run go on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def freeze(self) -> None:
        """Answer nothing from now on, also not at the handshake, while connections are still accepted."""
        self._thawed.clear()

    @web.middleware
    async def _while_thawed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await self._thawed.wait()
        return await handler(request)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        record, container = self._find(request)
        if not container.running:
            raise web.HTTPInternalServerError(text=f'container not found ("{container.name}")')
        query = request.query
        wanted = Request(
            record=record,
            container=container.name,
            argv=query.getall("command"),
            stdin=query.get("input") == "1",
            stdout=query.get("output") == "1",
            stderr=query.get("error") == "1",
            tty=query.get("tty") == "1",
        )
        socket = web.WebSocketResponse(protocols=PROTOCOLS, compress=False)
        await socket.prepare(request)
        command = asyncio.create_task(RemoteCommand(wanted, self._runtime, socket).run())
        self._commands.add(command)
        command.add_done_callback(self._commands.discard)
        await asyncio.shield(command)
        return socket

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        _, container = self._find(request)
        path = container.log
        if path is not None and request.query.get("previous") == "true":
            path = path.with_suffix("").with_suffix(f".{container.restarts - 1}.log")
        if path is None or not path.exists():
            raise web.HTTPBadRequest(text=f'container "{container.name}" has no such log')
        response = web.StreamResponse()
        await response.prepare(request)
        with path.open("rb") as log:
            lines = log.read().splitlines(keepends=True)
            tail = int(request.query.get("tailLines", len(lines)))
            await response.write(b"".join(lines[len(lines) - min(tail, len(lines)) :]))
            follow = request.query.get("follow") == "true"
            while follow and container.running and container.log == path:
                await response.write(log.read(CHUNK))
                await asyncio.sleep(FOLLOW_PERIOD)
        return response

    def _find(self, request: web.Request) -> tuple[PodRecord, ContainerRecord]:
        names = request.match_info
        record = self._runtime.find(names["namespace"], names["pod"])
        if record is None or names["container"] not in record.containers:
            raise web.HTTPNotFound(text=f'pod "{names["pod"]}" has no container "{names["container"]}" here')
        return record, record.containers[names["container"]]
