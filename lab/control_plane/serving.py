"""What both control planes need to serve: a port that nobody takes from them, and to know when they answer."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import aiohttp

from lab.control_plane import ControlPlaneFailed
from lab.kube_client import ApiError, KubeClient
from lab.processes import Component

LOOPBACK = "127.0.0.1"


def reserve_port(port: int | None = None) -> socket.socket:
    """Bind a port of the loopback, a free one unless it is given, so that only a process of this user shares it.

    The socket does not listen: connections are refused while no server runs, and a server that is started again gets
    the same port (SO_REUSEPORT; `--permit-port-sharing` of kube-apiserver).
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind((LOOPBACK, port or 0))
    return reserved


async def until_ready(kubeconfig: Path, component: Component, within: float) -> str:
    """Wait until an API server answers that it is ready; return the version it gives."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within), KubeClient.from_kubeconfig(kubeconfig, timeout=5.0) as client:
            while component.running:
                with suppress(ApiError, aiohttp.ClientError, TimeoutError):
                    await client.request("GET", "/readyz")
                    version: str = (await client.request("GET", "/version"))["gitVersion"]
                    return version
                await asyncio.sleep(0.02)
    words = component.last_words(20)
    raise ControlPlaneFailed(f"{component.name} was not ready within {within:.0f} s:\n{words}")
