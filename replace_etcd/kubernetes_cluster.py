"""`AdminCluster` over the asyncio flavour of the official client: the only module that talks to Kubernetes.

Requests go through `kubernetes.aio`'s ApiClient (kubeconfig, in-cluster tokens, TLS), bodies stay plain JSON.
Watches and exec read the client's streams themselves: the client's own exec helper joins stdout and stderr
and gives no exit code, and only a Status on channel 3 says that a command has ended
(https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/kubelet/pkg/cri/streaming/remotecommand/websocket.go).
"""

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException
from kubernetes.aio.stream import WsApiClient

from replace_etcd.cluster import (
    FIELD_MANAGER,
    POD,
    CommandResult,
    Condition,
    Eviction,
    Kind,
    Object,
    Patch,
    Sink,
)
from replace_etcd.errors import ClusterError, CutOff, NotStarted, NotYet, Unreachable
from replace_etcd.kubernetes_answers import (
    asked_to_wait,
    cluster_error,
    how_it_ended,
    refused_by_budget,
    unknown_identity,
    why_not,
)
from replace_etcd.token_bucket import TokenBucket

__all__ = ["ConfigException", "Configuration", "KubernetesCluster", "connect"]

REQUEST_SECONDS = 15.0
HANDSHAKE_SECONDS = 10.0
WEBSOCKET_HEARTBEAT_SECONDS = 5.0
WATCH_SECONDS = 60
STDOUT, STDERR, STATUS = 1, 2, 3
OURS = {"fieldManager": FIELD_MANAGER}
RATE_LIMIT = "rate limit has no turn for it in time (REPLACE_ETCD_API_QPS, REPLACE_ETCD_API_BURST)"


class KubernetesCluster:
    """The admin cluster behind one API server."""

    def __init__(self, configuration: Configuration, limit: TokenBucket | None = None) -> None:
        self._certificate: str | None = configuration.cert_file
        session = {"trust_env": False, "proxy": configuration.proxy or _proxy_of(configuration.host)}
        configuration.client_session_kwargs = session
        self._client = ApiClient(configuration)
        for_execs = copy.copy(configuration)
        for_execs.client_session_kwargs = session | {"middlewares": (_sent_once,)}
        self._websockets = WsApiClient(for_execs, heartbeat=WEBSOCKET_HEARTBEAT_SECONDS)
        self._limit = limit or TokenBucket(0, 1)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        await self._websockets.close()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        try:
            found: Object = await self._request("GET", kind.path(namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise
        return found

    async def find(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        fields: str | None = None,
        labels: str | None = None,
    ) -> list[Object]:
        query = {"fieldSelector": fields, "labelSelector": labels}
        answer = await self._request("GET", kind.path(namespace), {k: v for k, v in query.items() if v})
        items: list[Object] = answer["items"]
        return items

    async def create(
        self, kind: Kind, manifest: Object, namespace: str | None = None, *, dry_run: bool = False
    ) -> Object:
        query = {**OURS, "dryRun": "All"} if dry_run else OURS
        created: Object = await self._request("POST", kind.path(namespace), query, manifest)
        return created

    async def replace(self, kind: Kind, manifest: Object) -> Object:
        metadata = manifest["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"])
        replaced: Object = await self._request("PUT", path, OURS, manifest)
        return replaced

    async def patch(self, kind: Kind, name: str, namespace: str | None, operations: Patch) -> Object:
        patched: Object = await self._request("PATCH", kind.path(namespace, name), OURS, operations)
        return patched

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None,
        *,
        uid: str,
        version: str | None = None,
        grace: int | None = None,
    ) -> None:
        preconditions = {"uid": uid} | ({"resourceVersion": version} if version else {})
        options = _delete_options(preconditions, grace)
        try:
            await self._request("DELETE", kind.path(namespace, name), body=options)
        except ClusterError as error:
            if error.status != 404:
                raise

    async def evict(
        self, namespace: str, pod: str, *, uid: str, grace: int | None = None, dry_run: bool = False
    ) -> Eviction:
        options = _delete_options({"uid": uid}, grace)
        if dry_run:
            options["dryRun"] = ["All"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": options,
        }
        query = {"dryRun": "All"} if dry_run else {}
        try:
            await self._request("POST", POD.path(namespace, pod, "eviction"), query, eviction)
        except ClusterError as error:
            if error.status == 404:
                return Eviction(admitted=True, gone=True, status=404)
            if refused_by_budget(error):
                return Eviction(admitted=False, status=error.status, reason=why_not(error))
            raise
        return Eviction(admitted=True)

    async def wait_for(
        self, kind: Kind, name: str, namespace: str | None, condition: Condition, *, seconds: float
    ) -> Object | None:
        seen: Object | None = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    async for seen in self._follow(kind, name, namespace):
                        if condition(seen):
                            return seen
        except TimeoutError:
            raise NotYet(
                f"{kind.kind} {name}: what was waited for did not happen in {seconds:.0f} s"
            ) from None

    async def execute(
        self, namespace: str, pod: str, container: str, command: list[str], *, seconds: float
    ) -> CommandResult:
        output = bytearray()

        async def keep(chunk: bytes) -> None:
            output.extend(chunk)

        ended = await self.stream(namespace, pod, container, command, keep, seconds=seconds, silence=seconds)
        return replace(ended, stdout=output.decode(errors="replace"))

    async def stream(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: list[str],
        sink: Sink,
        *,
        seconds: float,
        silence: float,
    ) -> CommandResult:
        query = [("container", container), ("stdout", "1"), ("stderr", "1")]
        query += [("command", part) for part in command]
        path = POD.path(namespace, pod, "exec") + "?" + urlencode(query)
        said: dict[int, bytearray] = {STDERR: bytearray(), STATUS: bytearray()}
        try:
            async with aclosing(self._frames(path, seconds, silence)) as frames:
                async for channel, data in frames:
                    if channel == STDOUT:
                        await sink(data)
                    elif channel in said:
                        said[channel] += data
        except _Broken as error:
            if not said[STATUS]:
                raise CutOff(f"{command[0]} in {pod}: its end was not seen ({error})") from error
        return how_it_ended(command[0], said[STDERR], said[STATUS])

    async def permitted(
        self,
        verb: str,
        group: str,
        resource: str,
        namespace: str | None,
        *,
        subresource: str = "",
        name: str = "",
    ) -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        if name:
            attributes["name"] = name
        if namespace is not None:
            attributes["namespace"] = namespace
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._request(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review
        )
        return bool(answer["status"]["allowed"])

    async def version(self) -> str:
        return str((await self._request("GET", "/version"))["gitVersion"])

    async def _request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Object | Patch | None = None
    ) -> Any:
        """The answer; one that the server was too busy for is asked for again, in the same limit, when it says so."""
        end = asyncio.get_running_loop().time() + REQUEST_SECONDS
        while True:
            await self._turn(f"{method} {path}", end - asyncio.get_running_loop().time())
            left = end - asyncio.get_running_loop().time()
            async with _answers(f"{method} {path}"):
                response = await self._send(method, path, query, body, aiohttp.ClientTimeout(total=left))
                text = await response.read()
            pause = asked_to_wait(response.status, response.headers, text)
            if pause is None or pause >= left:
                break
            await asyncio.sleep(pause)
        if response.status >= 400:
            raise self._error(response.status, text)
        return json.loads(text)

    async def _turn(self, request: str, within: float) -> None:
        """Wait for the rate limit's turn, which is part of the request's own time: nothing is sent too late."""
        if await self._limit.take(within) is None:
            raise ClusterError(0, "RateLimit", f"{request}: not sent, the client-side {RATE_LIMIT}")

    def _error(self, status: int, text: bytes) -> ClusterError:
        return cluster_error(status, text, unknown_identity(self._certificate) if status == 401 else "")

    async def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: Object | Patch | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        content = "application/json-patch+json" if method == "PATCH" else "application/json"
        parameters = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(*parameters, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _follow(self, kind: Kind, name: str, namespace: str | None) -> AsyncIterator[Object | None]:
        """The object now, then at each change (None: gone), until the server closes the watch."""
        fields = f"metadata.name={name}"
        answer = await self._request("GET", kind.path(namespace), {"fieldSelector": fields})
        yield next(iter(answer["items"]), None)
        query = {
            "watch": "1",
            "fieldSelector": fields,
            "resourceVersion": answer["metadata"]["resourceVersion"],
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        await self._turn(f"WATCH {kind.path(namespace, name)}", REQUEST_SECONDS)
        async with _answers(f"WATCH {kind.path(namespace, name)}"):
            limit = aiohttp.ClientTimeout(
                total=None, sock_connect=REQUEST_SECONDS, sock_read=WATCH_SECONDS + REQUEST_SECONDS
            )
            response = await self._send("GET", kind.path(namespace), query, None, limit)
            async with response:
                if response.status == 410:
                    return  # the version is too old by now: the caller lists again, as below
                if response.status >= 400:
                    raise self._error(response.status, await response.read())
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return  # 410 Gone and its like: the caller lists again
                    yield None if event["type"] == "DELETED" else event["object"]

    async def _frames(
        self, path: str, seconds: float, silence: float
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """What arrives, with its channel, until the connection ends; `_Broken` where it did not end by itself.

        Errors are translated in here, where the consumer's own (a full disk is an OSError, too) cannot be met.
        """
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with self._websocket(path, min(seconds, HANDSHAKE_SECONDS)) as socket:
                while message := await _next(socket, silence, end):
                    if message.type is aiohttp.WSMsgType.BINARY and len(message.data) > 1:
                        yield message.data[0], message.data[1:]
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _Broken(str(error) or "no answer in time") from error

    @asynccontextmanager
    async def _websocket(self, path: str, seconds: float) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        waited = await self._limit.take(seconds)
        if waited is None:
            raise NotStarted(f"exec was not sent: the client-side {RATE_LIMIT}")
        parameters = await self._websockets.param_serialize("GET", path, auth_settings=["BearerToken"])
        answer = await self._websockets.call_api(*parameters, _preload_content=False)
        try:
            async with asyncio.timeout(seconds - waited):
                socket = await answer.response
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (400, 401, 403, 404):
                why = f": {unknown_identity(self._certificate)}" if error.status == 401 else ""
                raise NotStarted(f"exec was refused with {error.status}{why}") from error
            raise
        async with socket:
            yield socket


def _proxy_of(server: str) -> str | None:
    """The proxy that the environment names for the API server (HTTPS_PROXY, NO_PROXY), as for kubectl, looked up once.

    aiohttp would do it anew for each request, not for execs, and read ~/.netrc, whose passwords are for others.
    """
    address = urlsplit(server)
    return None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)


async def _sent_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending an exec again, as it does with a GET whose connection breaks before an answer."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:  # nothing was sent, and it is not sent again
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error


async def _next(
    socket: aiohttp.ClientWebSocketResponse, silence: float, end: float
) -> aiohttp.WSMessage | None:
    """The next message, None at the end; a stream that always has something to read ends in time, too."""
    left = end - asyncio.get_running_loop().time()
    if left <= 0:
        raise TimeoutError
    async with asyncio.timeout(min(silence, left)):
        return await anext(socket, None)


class _Broken(Exception):
    """The connection of an exec broke, or was silent for too long."""


@asynccontextmanager
async def _answers(request: str) -> AsyncIterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"{request}: no answer ({type(error).__name__}: {error})") from error


def _delete_options(preconditions: dict[str, str], grace: int | None) -> Object:
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    return options


async def connect(
    kubeconfig: str | None, context: str | None, limit: TokenBucket | None = None
) -> KubernetesCluster:
    """Connect by a kubeconfig and context, or with the service account where there is none."""
    configuration = Configuration()
    if kubeconfig:
        await kubernetes_config.load_kube_config(kubeconfig, context, client_configuration=configuration)
        return KubernetesCluster(configuration, limit)
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    except ConfigException as error:
        raise ConfigException(
            f"no admin cluster is named: set KUBECONFIG, or run in a pod ({error})"
        ) from error
    return KubernetesCluster(configuration, limit)
