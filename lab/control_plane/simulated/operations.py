"""One function for each verb of the API, between the HTTP request and the cluster's rules."""

from __future__ import annotations

import copy
from typing import Any

from aiohttp import web

from lab.control_plane.simulated import errors
from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.deletion import delete
from lab.control_plane.simulated.eviction import evict
from lab.control_plane.simulated.fields import check_body, check_patched
from lab.control_plane.simulated.identity import Action, Caller, may
from lab.control_plane.simulated.patches import APPLY_PATCH, apply_patch, parse_apply, refuse_former_life
from lab.control_plane.simulated.pod_status import set_condition
from lab.control_plane.simulated.request import Target, decode, delete_options, is_dry_run
from lab.control_plane.simulated.scale import read_scale, write_scale
from lab.control_plane.simulated.selectors import Matcher, field_matcher, label_matcher
from lab.control_plane.simulated.watching import WatchOptions

Json = dict[str, Any]
UNKNOWN_FIELDS = web.RequestKey("unknown_fields", list[str])


def matcher(request: web.Request, name: str = "") -> Matcher:
    """Combine the label and field selectors of a request."""
    labels = label_matcher(request.query.get("labelSelector", ""))
    fields = field_matcher(request.query.get("fieldSelector", ""))
    return lambda obj: (not name or obj["metadata"]["name"] == name) and labels(obj) and fields(obj)


def watch_options(request: web.Request, target: Target) -> WatchOptions:
    """Read what a watch asks for."""
    query = request.query
    return WatchOptions(
        namespace=target.namespace,
        matches=matcher(request, target.name),
        resource_version=query.get("resourceVersion", ""),
        seconds=float(query.get("timeoutSeconds") or WatchOptions.seconds),
        bookmarks=query.get("allowWatchBookmarks") in ("1", "true"),
        initial_events=query.get("sendInitialEvents") in ("1", "true"),
    )


def read(cluster: Cluster, target: Target) -> Json:
    """Read an object; its status subresource shows the whole of it."""
    if target.subresource == "scale":
        return read_scale(cluster, target)
    if target.subresource not in ("", "status"):
        raise errors.no_such_path()
    return cluster.get(target.resource, target.namespace, target.name)


def list_objects(cluster: Cluster, request: web.Request, target: Target) -> list[Json]:
    """List the objects that match."""
    matches = matcher(request)
    return [obj for obj in cluster.store.list(target.resource, target.namespace) if matches(obj)]


def as_list(cluster: Cluster, target: Target, objects: list[Json]) -> Json:
    """Wrap objects as a list of their kind."""
    metadata = {"resourceVersion": str(cluster.store.revision)}
    head: Json = {"kind": f"{target.resource.kind}List", "apiVersion": target.resource.api_version}
    return head | {"metadata": metadata, "items": objects}


def create(cluster: Cluster, caller: Caller, request: web.Request, target: Target, body: bytes) -> Json:
    """Create an object, or carry out what is posted to a subresource."""
    obj = decode(request.content_type, body)
    dry_run = is_dry_run(request)
    if target.resource.plural == "selfsubjectaccessreviews":
        return _review(cluster, caller, obj)
    if target.subresource == "eviction":
        return evict(cluster, target.namespace, target.name, obj, dry_run=dry_run)
    if target.subresource == "binding":
        return bind(cluster, target.namespace, target.name, obj["target"]["name"])
    if target.subresource:
        raise errors.no_such_path()
    _check(request, target, obj)
    return cluster.create(target.resource, target.namespace, obj, dry_run=dry_run)


def _check(request: web.Request, target: Target, obj: Json, *, patched: bool = False) -> None:
    """Drop unknown fields and note them for the answer's warnings; refuse them under strict validation."""
    check = check_patched if patched else check_body
    strict = request.query.get("fieldValidation") == "Strict"
    request[UNKNOWN_FIELDS] = check(target.resource, obj, strict=strict)


def bind(cluster: Cluster, namespace: str, name: str, node: str) -> Json:
    """Assign a pod to a node, once."""
    pods = cluster.resource("pods")
    pod = copy.deepcopy(cluster.get(pods, namespace, name))
    if "deletionTimestamp" in pod["metadata"]:
        raise errors.conflict(pods, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if assigned := pod["spec"].get("nodeName"):
        raise errors.conflict(pods, name, f'pod {name} is already assigned to node "{assigned}"')
    pod["spec"]["nodeName"] = node
    set_condition(pod, "PodScheduled", "True")
    cluster.store.put(pods, pod)
    return errors.success() | {"code": 201}


def update(cluster: Cluster, request: web.Request, target: Target, body: bytes) -> Json:
    """Replace an object or its status."""
    obj = decode(request.content_type, body)
    if target.subresource == "scale":
        return write_scale(cluster, target, obj, dry_run=is_dry_run(request))
    status = _is_status(target)
    _check(request, target, obj)
    return cluster.update(
        target.resource, target.namespace, target.name, obj, status=status, dry_run=is_dry_run(request)
    )


def patch(cluster: Cluster, request: web.Request, target: Target, body: bytes) -> tuple[Json, bool]:
    """Patch an object or its status; the second value says whether it was created (by an apply)."""
    dry_run = is_dry_run(request)
    content_type = request.headers.get("Content-Type", "")
    if target.subresource == "scale":
        scale = apply_patch(target.resource, read_scale(cluster, target), content_type, body)
        return write_scale(cluster, target, scale, dry_run=dry_run), False
    status = _is_status(target)
    current = cluster.store.get(target.resource, target.namespace, target.name)
    if current is None and content_type.startswith(APPLY_PATCH) and not status:
        applied = parse_apply(body)
        refuse_former_life(target.resource, applied)
        _check(request, target, applied, patched=True)
        return cluster.create(target.resource, target.namespace, applied, dry_run=dry_run), True
    current = cluster.get(target.resource, target.namespace, target.name)
    patched = copy.deepcopy(apply_patch(target.resource, current, content_type, body))
    _check(request, target, patched, patched=True)
    changed = cluster.update(
        target.resource, target.namespace, target.name, patched, status=status, dry_run=dry_run, patched=True
    )
    return changed, False


def remove(cluster: Cluster, request: web.Request, target: Target, body: bytes) -> Json:
    """Delete one object."""
    options = delete_options(request, body)
    dry_run = is_dry_run(request, options)
    return delete(cluster, target.resource, target.namespace, target.name, options, dry_run=dry_run)


def remove_all(cluster: Cluster, request: web.Request, target: Target, body: bytes) -> Json:
    """Delete the objects that match."""
    options = delete_options(request, body)
    dry_run = is_dry_run(request, options)
    found = list_objects(cluster, request, target)
    for obj in found:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        delete(cluster, target.resource, namespace, metadata["name"], options, dry_run=dry_run)
    return as_list(cluster, target, found)


def _is_status(target: Target) -> bool:
    if target.subresource not in ("", "status") or (target.subresource and not target.resource.status):
        raise errors.no_such_path()
    return bool(target.subresource)


def _review(cluster: Cluster, caller: Caller, review: Json) -> Json:
    """Answer `kubectl auth can-i`."""
    wanted = review.get("spec", {}).get("resourceAttributes") or {}
    subresource = wanted.get("subresource")
    resource = wanted.get("resource", "") + (f"/{subresource}" if subresource else "")
    action = Action(
        wanted.get("verb", ""),
        wanted.get("group", ""),
        resource,
        wanted.get("namespace", ""),
        wanted.get("name", ""),
    )
    return {**review, "status": {"allowed": may(cluster, caller, action)}}
