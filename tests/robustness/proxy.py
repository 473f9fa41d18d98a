"""The wire between the workers and the API server, where faults are made: a proxy with rules.

A worker reaches it by plain HTTP under `/via/ACTIVITY/`, so that a rule can name the activity whose request it is; it
goes on to the API server with the certificate of the lab's kubeconfig. A rule is for one namespace, meets the requests
that it matches, a number of times, and acts: answer, break the connection before or after, hold, cut an exec.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_plus

import aiohttp
from aiohttp import web
from yarl import URL

from lab.kubeconfig import Access

Json = dict[str, Any]

PREFIX = "via"
PASSED_ON = ("Accept", "Content-Type")
STATUS_CHANNEL = 3
PROTOCOL = "v4.channel.k8s.io"
NO_LIMIT = aiohttp.ClientTimeout(total=None)
REASONS = {403: "Forbidden", 409: "Conflict", 429: "TooManyRequests", 500: "InternalError"}


class NotRunning(Exception):
    """A command cannot be started: the status with which a handshake is refused then."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Call:
    """A request of a worker."""

    activity: str
    method: str
    path: str
    """With its query, without the prefix."""
    namespace: str
    body: bytes = b""

    @property
    def is_exec(self) -> bool:
        """Whether it runs a command in a container."""
        return "/exec?" in self.path

    @property
    def is_watch(self) -> bool:
        """Whether its answer is a stream."""
        return "watch=1" in self.path


class Passage:
    """One request on its way: what an act can do with it."""

    def __init__(self, proxy: Proxy, request: web.BaseRequest, call: Call) -> None:
        self.call = call
        self._proxy = proxy
        self._request = request

    async def through(self) -> web.StreamResponse:
        """Let it pass, and the answer come back."""
        if self.call.is_exec:
            return await self._exec()
        if self.call.is_watch:
            return await self._watch()
        async with self._proxy.send(self._request, self.call) as answer:
            headers = {name: answer.headers[name] for name in ("Content-Type",) if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)

    async def to_the_end(self) -> None:
        """Let it act, whoever waits for the answer or not."""
        if not self.call.is_exec:
            async with self._proxy.send(self._request, self.call) as answer:
                await answer.read()
            return
        with suppress(aiohttp.WSServerHandshakeError, NotRunning):
            async with self._proxy.command(self.call) as frames:
                async for frame in frames:
                    if frame[0] == STATUS_CHANNEL:
                        return

    async def accept(self) -> None:
        """Answer the handshake of an exec, before the command starts: what is lost is lost after it."""
        await web.WebSocketResponse(protocols=(PROTOCOL,), compress=False).prepare(self._request)

    def drop(self) -> web.Response:
        """Break the connection to the worker; returns what nobody will read."""
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response()

    def answer(self, status: int, retry_after: int | None = None) -> web.Response:
        """Answer in the API server's place."""
        reason = REASONS[status]
        body = {
            "kind": "Status",
            "status": "Failure",
            "code": status,
            "reason": reason,
            "message": "injected",
        }
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return web.json_response(body, status=status, headers=headers)

    async def _watch(self) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        async with self._proxy.send(self._request, self.call) as answer:
            if answer.status >= 400:
                return web.Response(status=answer.status, body=await answer.read())
            response.enable_chunked_encoding()
            await response.prepare(self._request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        return response

    async def _exec(self) -> web.StreamResponse:
        try:
            async with self._proxy.command(self.call) as frames:
                front = web.WebSocketResponse(protocols=(PROTOCOL,), compress=False)
                await front.prepare(self._request)
                listening = asyncio.create_task(_until_closed(front))
                try:
                    async for frame in frames:
                        await front.send_bytes(frame)
                finally:
                    listening.cancel()
                await front.close()
                return front
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status)
        except NotRunning as error:
            return web.Response(status=error.status)


Commands = Callable[[str, str, list[str]], Awaitable[dict[int, bytes]]]
"""Runs a command in a pod of a namespace; what it leaves on each channel."""
Act = Callable[[Passage], Awaitable[web.StreamResponse]]


@dataclass
class Rule:
    """Which requests meet which act, and how often (None: as often as they come)."""

    matches: Callable[[Call], bool]
    act: Act
    times: int | None = 1
    met: int = 0

    def meets(self, call: Call) -> bool:
        """Whether the act is for this request; it counts then."""
        if self.times is not None and self.met >= self.times:
            return False
        if not self.matches(call):
            return False
        self.met += 1
        return True


def on(
    activity: str | None = None, method: str | None = None, path: str = "", nth: int = 1
) -> Callable[[Call], bool]:
    """Match by activity, method and a regular expression for the path, from the nth such request on."""
    seen = 0

    def matches(call: Call) -> bool:
        nonlocal seen
        if activity not in (None, call.activity) or method not in (None, call.method):
            return False
        if not re.search(path, call.path):
            return False
        seen += 1
        return seen >= nth

    return matches


def answers(status: int, retry_after: int | None = None) -> Act:
    """Refuse in the API server's place, before anything is passed on."""

    async def act(passage: Passage) -> web.StreamResponse:
        return passage.answer(status, retry_after)

    return act


async def reset(passage: Passage) -> web.StreamResponse:
    """Break the connection before anything is passed on."""
    return passage.drop()


async def lose_the_answer(passage: Passage) -> web.StreamResponse:
    """Let it take effect, and break the connection before the answer."""
    if passage.call.is_exec:
        await passage.accept()
    if not passage.call.is_watch:
        await passage.to_the_end()
    return passage.drop()


async def drop_in_the_middle(passage: Passage) -> web.StreamResponse:
    """Drop an exec that was accepted, while its command goes on."""
    await passage.accept()
    passage.drop()
    await passage.to_the_end()
    return web.Response()


@dataclass
class Held:
    """A request is held, until somebody lets it go: it acts then, however late, or it is lost."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False

    async def __call__(self, passage: Passage) -> web.StreamResponse:
        self.arrived.set()
        await self.gate.wait()
        try:
            return passage.drop() if self.lost else await passage.through()
        except (ConnectionError, aiohttp.ClientError):
            return web.Response()  # the worker has given up meanwhile
        finally:
            self.finished.set()

    def release(self) -> None:
        """Let it act."""
        self.gate.set()

    def lose(self) -> None:
        """Let it be lost on the way."""
        self.lost = True
        self.gate.set()


class Proxy:
    """The proxy; rules are kept by namespace, and `watchers` see every request before the rules do."""

    def __init__(self, access: Access, commands: Commands | None = None) -> None:
        """With `commands`, execs are answered here and not by a kubelet behind the API server."""
        self._commands = commands
        self.tenants: dict[str, str] = {}
        """The user cluster of a node whose name does not tell it."""
        self.rules: dict[str, list[Rule]] = {}
        self.watchers: list[Callable[[Call], None]] = []
        self.url = ""
        self._access = access
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._answering: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._access.context, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=NO_LIMIT, auto_decompress=False)
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:  # first: a request that still comes in needs the session
            await self._runner.cleanup()
        for task in self._answering:  # whoever asked is gone: the runner knows nothing of these any more
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def address(self, activity: str) -> str:
        """The server address for the requests of one activity."""
        return f"{self.url}/{PREFIX}/{activity}"

    def send(self, request: web.BaseRequest, call: Call) -> Any:
        """Pass a request on; an async context manager of the answer."""
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        url = self._access.server + call.path
        return self._client.request(call.method, _verbatim(url), data=call.body or None, headers=headers)

    @asynccontextmanager
    async def command(self, call: Call) -> AsyncIterator[AsyncIterator[bytes]]:
        """Pass an exec on; the frames that come back: a channel and its data."""
        if self._commands is not None:
            pod = call.path.partition("?")[0].split("/")[6]
            running = asyncio.ensure_future(self._commands(call.namespace, pod, command_of(call)))
            yield _frames(await asyncio.shield(running))
            return
        url = _verbatim(self._access.server + call.path)
        async with self._client.ws_connect(url, protocols=(PROTOCOL,)) as backend:
            yield _binary(backend)

    @property
    def _client(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            return await self._answer(request)
        finally:
            self._answering.discard(task)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        activity, _, rest = request.raw_path.removeprefix(f"/{PREFIX}/").partition("/")
        body = await request.read() if request.can_read_body else b""
        path = f"/{rest}"
        namespace = namespace_of(path, body)
        call = Call(activity, request.method, path, self.tenants.get(namespace, namespace), body)
        for watcher in self.watchers:
            watcher(call)
        passage = Passage(self, request, call)
        for rule in self.rules.get(call.namespace, ()):
            if rule.meets(call):
                return await rule.act(passage)
        try:
            return await passage.through()
        except (ConnectionError, aiohttp.ClientError):
            return passage.drop()


def command_of(call: Call) -> list[str]:
    """The words of an exec."""
    return [unquote_plus(word) for word in re.findall(r"command=([^&]*)", call.path)]


def namespace_of(path: str, body: bytes = b"") -> str:
    """Whose request it is: a node of the quick tier's user clusters is named after its namespace."""
    if found := re.match(r"/apis?/[^?]*/namespaces/([^/?]+)", path):
        return found[1].removesuffix("-gke-onprem-mgmt")
    if found := re.match(r"/api/v1/nodes/([^/?]+)", path) or re.search(r"spec\.nodeName%3D([^&]+)", path):
        return found[1].rpartition(".")[0] or found[1]
    if "selfsubjectaccessreviews" in path and body:
        asked = json.loads(body)["spec"]["resourceAttributes"]
        return str(asked.get("namespace", ""))
    return ""


def _verbatim(url: str) -> URL:
    """The query is encoded already."""
    return URL(url, encoded=True)


async def _binary(backend: aiohttp.ClientWebSocketResponse) -> AsyncIterator[bytes]:
    async for message in backend:
        if message.type is aiohttp.WSMsgType.BINARY and message.data:
            yield message.data


async def _frames(output: dict[int, bytes]) -> AsyncIterator[bytes]:
    for channel, data in output.items():
        yield bytes([channel]) + data


async def _until_closed(front: web.WebSocketResponse) -> None:
    """Read what the worker sends, so that its pings are answered."""
    with suppress(ConnectionError, RuntimeError):
        async for _ in front:
            pass
