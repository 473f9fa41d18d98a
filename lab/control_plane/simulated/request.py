"""What a request asks for, read from its method, path and query, as the API server reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from lab.control_plane.simulated import protobuf
from lab.control_plane.simulated.errors import StatusError, bad_request, no_such_path
from lab.control_plane.simulated.resources import Catalogue, Resource

Json = dict[str, Any]

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}
BODY_TYPES = ("application/json", "application/yaml", "application/octet-stream", "")
NUMBERS = ("gracePeriodSeconds",)


@dataclass(frozen=True)
class Target:
    """One resource, one object or one subresource of it, and the verb."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    selected: str = ""
    """The one object that a list or watch asks for by its name, which a rule may name, too."""

    @property
    def authorized_as(self) -> str:
        """The resource as RBAC rules name it: `pods`, `pods/exec`."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


def parse_target(request: web.Request, catalogue: Catalogue) -> Target:
    """Read the path of a resource; 404 for a kind that is not served."""
    parts = [part for part in request.path.split("/") if part]
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource = catalogue.find(group, version, rest[0])
    if resource is None or len(rest) > 3:
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if resource.namespaced != bool(namespace) and (name or namespace or request.method == "POST"):
        raise no_such_path()
    selected = "" if name else _selected(request)
    return Target(_verb(request, name), resource, namespace, name, subresource, selected)


def _selected(request: web.Request) -> str:
    terms = request.query.get("fieldSelector", "").split(",")
    names = [value for term in terms for field, _, value in [term.partition("=")] if field == "metadata.name"]
    return names[0].lstrip("=") if names else ""


def _verb(request: web.Request, name: str) -> str:
    verb = VERBS.get(request.method)
    if verb is None:
        raise StatusError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )
    if verb == "get" and request.query.get("watch") in ("1", "true"):
        return "watch"
    if not name and verb in ("get", "delete"):
        return "list" if verb == "get" else "deletecollection"
    return verb


def decode(content_type: str, body: bytes) -> Json:
    """Read a body that is an object, in JSON or YAML."""
    if content_type == protobuf.CONTENT_TYPE:
        return protobuf.decode_object(body)
    if content_type not in BODY_TYPES:
        text = "the body of the request was in an unknown format - accepted media types include: application/json"
        raise StatusError(415, "UnsupportedMediaType", text, {})
    try:
        value = yaml.safe_load(body) if content_type == "application/yaml" else json.loads(body)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"the request body could not be read: {error}") from None
    if not isinstance(value, dict):
        raise bad_request("the request body must be an object")
    return value


def delete_options(request: web.Request, body: bytes) -> Json:
    """Read DeleteOptions from the body and the query."""
    options = decode(request.content_type, body) if body else {}
    for field in ("gracePeriodSeconds", "propagationPolicy"):
        if field in request.query:
            value = request.query[field]
            options[field] = int(value) if field in NUMBERS else value
    return options


def is_dry_run(request: web.Request, options: Json | None = None) -> bool:
    """Whether nothing is to be stored."""
    return "dryRun" in request.query or bool((options or {}).get("dryRun"))
