"""Exec through the API server as any client does it: a WebSocket with channels."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from lab.kube_client import KubeClient

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
STDOUT, STDERR, STATUS = 1, 2, 3


@dataclass
class Result:
    """What a command said, and the Status that ended it; None if the connection ended without one."""

    stdout: str = ""
    stderr: str = ""
    status: dict[str, Any] | None = None

    @property
    def exit_code(self) -> int | None:
        """The exit code, if the Status carries one."""
        assert self.status is not None, f"no Status arrived: {self}"
        if self.status["status"] == "Success":
            return 0
        causes = self.status.get("details", {}).get("causes", [])
        codes = [int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"]
        return codes[0] if codes else None


@asynccontextmanager
async def session(
    client: KubeClient,
    namespace: str,
    pod: str,
    *argv: str,
    container: str = "main",
    protocol: str = V4,
    stdin: bool = False,
    tty: bool = False,
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An exec whose messages are read by the caller."""
    query = [("container", container), ("stdout", "true"), ("stderr", "false" if tty else "true")]
    query += [("tty", "true")] if tty else []
    query += [("stdin", "true")] if stdin else []
    query += [("command", word) for word in argv]
    url = f"{client.server}/api/v1/namespaces/{namespace}/pods/{pod}/exec"
    async with client.session.ws_connect(url, params=query, protocols=(protocol,)) as socket:
        yield socket


async def execute(
    client: KubeClient,
    namespace: str,
    pod: str,
    *argv: str,
    container: str = "main",
    protocol: str = V4,
    feed: bytes = b"",
) -> Result:
    """Run one command to its end."""
    made = session(client, namespace, pod, *argv, container=container, protocol=protocol, stdin=bool(feed))
    async with made as socket:
        if feed:
            await socket.send_bytes(b"\0" + feed)
            await socket.send_bytes(b"\xff\0")
        return await read(socket)


async def read(socket: aiohttp.ClientWebSocketResponse) -> Result:
    """Read to the end of the connection."""
    result = Result()
    async for message in socket:
        channel, data = message.data[0], message.data[1:]
        if channel == STDOUT:
            result.stdout += data.decode()
        elif channel == STDERR:
            result.stderr += data.decode()
        elif channel == STATUS:
            result.status = json.loads(data)
    return result
