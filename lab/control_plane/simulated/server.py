"""The HTTP side of the API server: who calls, what is asked, whether it is allowed, and the answer."""

from __future__ import annotations

import json
import logging
from typing import Any

from aiohttp import web

from lab.control_plane.simulated import discovery, operations
from lab.control_plane.simulated.audit import AuditLog
from lab.control_plane.simulated.clock import now
from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.errors import StatusError, no_such_path
from lab.control_plane.simulated.identity import Caller, authenticate, authorize, impersonated, may_read_path
from lab.control_plane.simulated.proxy import KubeletProxy
from lab.control_plane.simulated.request import Target, parse_target
from lab.control_plane.simulated.tables import table, wants_table
from lab.control_plane.simulated.watching import WatchOptions, watch

Json = dict[str, Any]
log = logging.getLogger(__name__)

HEALTH = ("/readyz", "/livez", "/healthz")
BODY_LIMIT = 16 * 2**20


class ApiServer:
    """Answers requests from the cluster's state."""

    def __init__(self, cluster: Cluster, proxy: KubeletProxy, audit: AuditLog) -> None:
        self._cluster = cluster
        self._proxy = proxy
        self._audit = audit

    def application(self) -> web.Application:
        """Return the aiohttp application: one route, since paths depend on the kinds that exist."""
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request; failures become Status objects."""
        try:
            caller = impersonated(self._cluster, request, authenticate(request))
            return await self._answer(request, caller)
        except StatusError as error:
            return web.json_response(error.body(), status=error.code, headers=_retry_after(error))
        except ConnectionError:
            raise
        except Exception:
            log.exception("%s %s", request.method, request.path_qs)
            failure = StatusError(
                500, "InternalError", "Internal error occurred: see the log of the lab's API server"
            )
            return web.json_response(failure.body(), status=500)

    async def _answer(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if path.startswith(HEALTH):
            return web.Response(text="ok")
        if not path.startswith(("/api/v1/", "/apis/")) or path.count("/") < (
            3 if path.startswith("/api/") else 4
        ):
            return self._discovery(caller, path)
        target = parse_target(request, self._cluster.catalogue)
        began, body = now(), await request.read()
        code = 500
        try:
            authorize(self._cluster, caller, target)
            response = await self._resource(request, caller, target, body)
            code = response.status
        except StatusError as error:
            code = error.code
            raise
        finally:
            self._audit.record(request, body, caller, target, began=began, code=code)
        return response

    def _discovery(self, caller: Caller, path: str) -> web.Response:
        if not may_read_path(self._cluster, caller, path):
            text = f'forbidden: User "{caller.user}" cannot get path "{path}"'
            raise StatusError(403, "Forbidden", text, {})
        answer = discovery.answer(self._cluster.catalogue, path)
        if answer is None:
            raise no_such_path()
        return web.json_response(answer)

    async def _resource(
        self, request: web.Request, caller: Caller, target: Target, body: bytes
    ) -> web.StreamResponse:
        if target.subresource == "exec":
            return await self._proxy.exec(request, target.namespace, target.name)
        if target.subresource == "log":
            return await self._proxy.log(request, target.namespace, target.name)
        if target.verb == "watch":
            return await self._watch(request, target)
        return self._change_or_read(request, caller, target, body)

    def _change_or_read(
        self, request: web.Request, caller: Caller, target: Target, body: bytes
    ) -> web.Response:
        cluster = self._cluster
        match target.verb:
            case "get":
                response = self._objects(request, target, [operations.read(cluster, target)])
            case "list":
                objects = operations.list_objects(cluster, request, target)
                response = self._objects(request, target, objects, many=True)
            case "create":
                created = operations.create(cluster, caller, request, target, body)
                response = self._changed(request, target, created, 201)
            case "update":
                updated = operations.update(cluster, request, target, body)
                response = self._changed(request, target, updated)
            case "patch":
                patched, was_created = operations.patch(cluster, request, target, body)
                response = self._changed(request, target, patched, 201 if was_created else 200)
            case "delete":
                response = web.json_response(operations.remove(cluster, request, target, body))
            case _:
                response = web.json_response(operations.remove_all(cluster, request, target, body))
        return response

    def _objects(
        self, request: web.Request, target: Target, objects: list[Json], *, many: bool = False
    ) -> web.Response:
        if wants_table(request.headers.get("Accept", "")):
            include = request.query.get("includeObject", "Metadata")
            revision = str(self._cluster.store.revision)
            return web.json_response(table(target.resource, objects, revision, include))
        return web.json_response(operations.as_list(self._cluster, target, objects) if many else objects[0])

    def _changed(self, request: web.Request, target: Target, obj: Json, code: int = 200) -> web.Response:
        if wants_table(request.headers.get("Accept", "")) and obj.get("kind") == target.resource.kind:
            obj = table(target.resource, [obj], "")
        response = web.json_response(obj, status=code)
        for path in request.get(operations.UNKNOWN_FIELDS, []):
            response.headers.add("Warning", f'299 - "unknown field \\"{path}\\""')
        return response

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        options = operations.watch_options(request, target)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            await self._send_events(request, response, target, options)
        except ConnectionError:
            return response
        return response

    async def _send_events(
        self, request: web.Request, response: web.StreamResponse, target: Target, options: WatchOptions
    ) -> None:
        as_table = wants_table(request.headers.get("Accept", ""))
        include = request.query.get("includeObject", "Metadata")
        async for kind, obj in watch(self._cluster.store, target.resource, options):
            shown = obj
            if as_table and kind not in ("BOOKMARK", "ERROR"):
                shown = table(target.resource, [obj], obj["metadata"]["resourceVersion"], include)
            await response.write(json.dumps({"type": kind, "object": shown}).encode() + b"\n")
            if kind == "ERROR":
                return


def _retry_after(error: StatusError) -> dict[str, str]:
    seconds = (error.details or {}).get("retryAfterSeconds")
    return {"Retry-After": str(seconds)} if seconds else {}
