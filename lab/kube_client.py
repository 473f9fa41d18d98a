"""A tiny Kubernetes client for the lab's own parts and tests: JSON in, JSON out, nothing hidden.

The product uses the official client; the lab does not, so that a mistake in one does not hide in the other,
and so that a test sees the API server's bare answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from lab.kubeconfig import Access, read_kubeconfig

Json = dict[str, Any]
RETRY = 0.1

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

GROUPS = {
    "/api/v1": (
        "bindings configmaps endpoints events namespaces nodes persistentvolumeclaims persistentvolumes pods"
        " secrets serviceaccounts services"
    ),
    "/apis/apps/v1": "controllerrevisions daemonsets deployments replicasets statefulsets",
    "/apis/policy/v1": "poddisruptionbudgets",
    "/apis/coordination.k8s.io/v1": "leases",
    "/apis/storage.k8s.io/v1": "storageclasses",
    "/apis/rbac.authorization.k8s.io/v1": "clusterrolebindings clusterroles rolebindings roles",
    "/apis/authorization.k8s.io/v1": "selfsubjectaccessreviews",
    "/apis/apiextensions.k8s.io/v1": "customresourcedefinitions",
}
PREFIX = {resource: prefix for prefix, resources in GROUPS.items() for resource in resources.split()}


class ApiError(Exception):
    """An answer of the API server that is not 2xx; `status` is its Status object, as far as it is one."""

    def __init__(self, code: int, status: Json) -> None:
        super().__init__(f"{code} {status.get('reason', '')}: {status.get('message', '')}")
        self.code = code
        self.status = status
        self.reason: str = status.get("reason", "")
        self.message: str = status.get("message", "")


def path_of(resource: str, name: str = "", namespace: str = "", subresource: str = "") -> str:
    """Return the path of a resource: `pods`, or `example.com/v1/widgets` for a group not listed."""
    group_version, _, plural = resource.rpartition("/")
    prefix = f"/apis/{group_version}" if group_version else PREFIX[plural]
    parts = [prefix, f"namespaces/{namespace}" if namespace else "", plural, name, subresource]
    return "/".join(part for part in parts if part)


class KubeClient:
    """One connection pool to one API server, as the identity of one client certificate."""

    def __init__(self, access: Access, *, timeout: float = 30.0) -> None:
        self.server = access.server
        self._context = access.context
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path, *, timeout: float = 30.0) -> Self:
        """Build a client from a kubeconfig of `lab.kubeconfig`."""
        return cls(read_kubeconfig(path), timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The aiohttp session, for what this client has no method for (exec over a WebSocket)."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> Json:
        """Send one request; raise ApiError for any answer that is not 2xx."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": accept, "Content-Type": content_type}
        url = self.server + path
        async with self.session.request(method, url, data=data, headers=headers, params=params) as response:
            text = await response.text()
            answer = _parsed(text)
            if response.status >= 300:
                raise ApiError(response.status, answer)
            return answer

    async def get(self, resource: str, name: str, namespace: str = "", subresource: str = "") -> Json:
        """Read one object."""
        return await self.request("GET", path_of(resource, name, namespace, subresource))

    async def find(self, resource: str, name: str, namespace: str = "") -> Json | None:
        """Read one object; None when there is none."""
        try:
            return await self.get(resource, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def list(self, resource: str, namespace: str = "", **params: str) -> list[Json]:
        """Read the objects of one kind; `labelSelector` and the like are passed on."""
        items: list[Json] = (await self.request("GET", path_of(resource, "", namespace), params=params))[
            "items"
        ]
        return items

    async def create(
        self,
        resource: str,
        body: Json,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        **params: str,
    ) -> Json:
        """Create an object, or post to a subresource of one."""
        return await self.request(
            "POST", path_of(resource, name, namespace, subresource), body=body, params=params
        )

    async def replace(self, resource: str, body: Json, namespace: str = "", subresource: str = "") -> Json:
        """Replace an object by this one (PUT); a resourceVersion in it is a condition."""
        path = path_of(resource, body["metadata"]["name"], namespace, subresource)
        return await self.request("PUT", path, body=body)

    async def patch(
        self,
        resource: str,
        name: str,
        body: object,
        namespace: str = "",
        *,
        subresource: str = "",
        content_type: str | None = None,
        **params: str,
    ) -> Json:
        """Patch an object: a list is a JSON patch, a dict a merge patch, unless the type is named."""
        kind = content_type or (JSON_PATCH if isinstance(body, list) else MERGE_PATCH)
        path = path_of(resource, name, namespace, subresource)
        return await self.request("PATCH", path, body=body, content_type=kind, params=params)

    async def delete(
        self, resource: str, name: str, namespace: str = "", options: Json | None = None, **params: str
    ) -> Json:
        """Delete an object, with DeleteOptions (preconditions, gracePeriodSeconds, propagationPolicy)."""
        return await self.request("DELETE", path_of(resource, name, namespace), body=options, params=params)

    async def evict(self, pod: str, namespace: str, options: Json | None = None, **params: str) -> Json:
        """Ask for the eviction of a pod, which its PodDisruptionBudget may refuse with 429."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            **({"deleteOptions": options} if options else {}),
        }
        return await self.create("pods", body, namespace, pod, "eviction", **params)

    async def watch(
        self, resource: str, namespace: str = "", **params: str
    ) -> AsyncIterator[tuple[str, Json]]:
        """Follow changes as (type, object) until the server ends it; raise ApiError for an ERROR."""
        path = path_of(resource, "", namespace)
        query = {"watch": "1", **params}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with self.session.get(self.server + path, params=query, timeout=timeout) as response:
            if response.status >= 300:
                raise ApiError(response.status, _parsed(await response.text()))
            buffer = b""
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for event in (json.loads(line) for line in lines if line):
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 500), event["object"])
                    yield event["type"], event["object"]

    async def follow(self, resource: str, namespace: str, take: Callable[[str, Json], None]) -> None:
        """Hand over all that is there, and each change, until cancelled; a server that is away is asked again."""
        while True:
            with suppress(ApiError, aiohttp.ClientError, TimeoutError):
                found = await self.request("GET", path_of(resource, "", namespace))
                for item in found["items"]:
                    take("ADDED", item)
                version = found["metadata"]["resourceVersion"]
                async for kind, item in self.watch(resource, namespace, resourceVersion=version):
                    take(kind, item)
            await asyncio.sleep(RETRY)


def _parsed(text: str) -> Json:
    try:
        answer = json.loads(text)
    except ValueError:
        return {"message": text.strip()}
    return answer if isinstance(answer, dict) else {"value": answer}
