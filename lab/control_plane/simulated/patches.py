"""The four kinds of PATCH: JSON patch, merge patch, strategic merge patch, and a plain form of server-side
apply.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import jsonpointer
import yaml

from lab.control_plane.simulated.errors import StatusError, bad_request, conflict
from lab.control_plane.simulated.resources import Resource
from lab.control_plane.simulated.strategic_merge import strategic_merge

Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
REJECTED = "the server rejected our request due to an error in our request"


def apply_patch(resource: Resource, current: Json, content_type: str, body: bytes) -> Json:
    """Return the object as the patch makes it."""
    kind = content_type.partition(";")[0].strip()
    if kind == JSON_PATCH:
        return _json_patch(current, body)
    if kind == MERGE_PATCH:
        merged: Json = merge_patch(current, _object(body))
        return merged
    if kind == STRATEGIC_MERGE_PATCH and not resource.custom:
        return strategic_merge(current, _object(body))
    if kind == APPLY_PATCH:
        return server_side_apply(resource, current, parse_apply(body))
    known = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH] + ([] if resource.custom else [STRATEGIC_MERGE_PATCH])
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(
        known
    )
    raise StatusError(415, "UnsupportedMediaType", message, {})


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply an RFC 7396 merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def parse_apply(body: bytes) -> Json:
    """Read the object that somebody applies: YAML, and JSON with it."""
    try:
        applied = yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from None
    if not isinstance(applied, dict):
        raise bad_request("the applied configuration must be an object")
    return applied


def server_side_apply(resource: Resource, current: Json, applied: Json) -> Json:
    """Merge the applied fields; whose they were is not tracked, so nothing is taken away and nothing conflicts."""
    merge = merge_patch if resource.custom else strategic_merge
    merged: Json = merge(current, {key: value for key, value in applied.items() if key != "status"})
    return merged


def refuse_former_life(resource: Resource, applied: Json) -> None:
    """Refuse to create by an apply what names the uid of an object that is gone."""
    metadata = applied.get("metadata") or {}
    if uid := metadata.get("uid"):
        text = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(resource, metadata.get("name", ""), text)


def _json_patch(current: Json, body: bytes) -> Json:
    try:
        operations = json.loads(body)
        result: Json = jsonpatch.apply_patch(copy.deepcopy(current), operations)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError):
        raise StatusError(422, "Invalid", REJECTED, {}) from None
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from None
    return result


def _object(body: bytes) -> Json:
    try:
        patch = json.loads(body)
    except ValueError:
        patch = yaml.safe_load(body)
    if not isinstance(patch, dict):
        raise bad_request("the patch must be an object")
    return patch
