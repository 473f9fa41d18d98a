"""Readiness probes, as a kubelet carries them out: from the node, over the pod network or inside the container.

One difference from a kubelet is on purpose: until the first success a probe is tried several times a second, so
that a lab need not wait out a whole period to learn that a container is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp

from lab.nodes.records import Json

IMPATIENT_PERIOD = 0.2

Attempt = Callable[[], Awaitable[bool]]
Exec = Callable[[list[str]], Awaitable[int]]


def attempt_of(probe: Json, container: Json, address: str, execute: Exec) -> Attempt:
    """The check that a probe asks for; it may hang, its time limit is somebody else's."""
    if action := probe.get("httpGet"):
        scheme = action.get("scheme", "HTTP").lower()
        host = action.get("host") or address
        url = f"{scheme}://{host}:{_port(action['port'], container)}{action.get('path', '/')}"
        return lambda: _http(url)
    if action := probe.get("tcpSocket"):
        port = _port(action["port"], container)
        return lambda: _connect(action.get("host") or address, port)
    words: list[str] = probe["exec"]["command"]

    async def exited_with_zero() -> bool:
        return await execute(words) == 0

    return exited_with_zero


def _port(port: int | str, container: Json) -> int:
    named = {item.get("name"): item["containerPort"] for item in container.get("ports", [])}
    return int(named.get(port, port))


async def _http(url: str) -> bool:
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        return 200 <= response.status < 400


async def _connect(host: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return True


async def watch(probe: Json, attempt: Attempt, report: Callable[[bool], None]) -> None:
    """Probe for ever; report each change of the answer, after as many results in a row as the probe asks for."""
    period = float(probe.get("periodSeconds", 10))
    needed = {True: probe.get("successThreshold", 1), False: probe.get("failureThreshold", 3)}
    ready, streak = False, 0
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        success = await _succeeds(attempt, float(probe.get("timeoutSeconds", 1)))
        streak = streak + 1 if success != ready else 0
        if streak >= needed[success]:
            ready, streak = success, 0
            report(ready)
        await asyncio.sleep(period if ready else min(period, IMPATIENT_PERIOD))


async def _succeeds(attempt: Attempt, timeout: float) -> bool:
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(timeout):
            return await attempt()
    return False
