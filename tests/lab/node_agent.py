"""The exec and log endpoints of a kubelet, in a few lines: commands run as plain processes, over a WebSocket.

It speaks the channels of `v4.channel.k8s.io` and `v5.channel.k8s.io`. The lab's own node agent is larger and has tests
of its own; here it is enough that both API servers proxy to the same thing.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from lab.pki import AdminPki

Json = dict[str, Any]
STDOUT, STDERR, ERROR = b"\x01", b"\x02", b"\x03"
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class NodeAgent:
    """Serves exec for every pod on 127.0.0.1, to the API server's certificate only."""

    def __init__(self, pki: AdminPki) -> None:
        pair = pki.node("node-agent", "127.0.0.1")
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca))
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._log)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["pod"] == "restarting":
            return web.Response(status=500, text="container not found")
        socket = web.WebSocketResponse(protocols=PROTOCOLS)
        await socket.prepare(request)
        if request.match_info["pod"] == "dying":
            return socket
        if request.match_info["pod"] in ("cut", "silent"):
            await socket.send_bytes(STDOUT + b"so far")
            if request.match_info["pod"] == "cut":
                assert request.transport is not None
                request.transport.abort()
            async for _ in socket:  # until the caller has gone
                pass
            return socket
        process = await asyncio.create_subprocess_exec(
            *request.query.getall("command"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
        await socket.send_bytes(STDOUT + output)
        await socket.send_bytes(STDERR + errors)
        await socket.send_bytes(ERROR + json.dumps(_status(process.returncode or 0)).encode())
        await socket.close()
        return socket

    async def _log(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"log of {request.match_info['container']}\n")


def _status(code: int) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    causes = [{"reason": "ExitCode", "message": str(code)}]
    message = f"command terminated with non-zero exit code: exit status {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NonZeroExitCode",
        "details": {"causes": causes},
    }
