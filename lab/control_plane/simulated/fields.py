"""Which fields each kind has, and of which type: what nobody knows is dropped with a warning, or refused if asked.

The schema is read from the models of the official client, which are generated from the API's own. Without this a
misspelt field would be stored here and vanish on a real API server.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from lab.control_plane.simulated.errors import StatusError, bad_request
from lab.control_plane.simulated.resources import Resource

Json = dict[str, Any]

MODELS = "kubernetes.aio.client.models"
NAMES = {"Event": "CoreV1Event"}
CONTAINER = re.compile(r"(List|list|Dict|dict)[\[(](?:str, )?(.+)[\])]")
JSON_NAMES = {bool: "bool", str: "string", int: "number", float: "number", list: "array", dict: "object"}
SCALARS: dict[str, tuple[type, ...]] = {"int": (int,), "bool": (bool,), "str": (str, int, float)}
GO_NAMES = {"int": "int32", "bool": "bool", "str": "string"}


class TypeMismatchError(Exception):
    """A value is not of its field's type; the text is that of Go's JSON decoder."""


def load() -> None:
    """Import the models: it takes half a second, so that it is done beside the start."""
    importlib.import_module(MODELS)


def prune(resource: Resource, obj: Json) -> list[str]:
    """Take out what the kind does not have, in place, and return the paths; raise on a value of a wrong type."""
    schema = _fields_of(NAMES.get(resource.kind, f"V1{resource.kind}"))
    if resource.custom or schema is None:
        return []
    return list(_prune(schema, obj, ""))


def check_body(resource: Resource, obj: Json, *, strict: bool) -> list[str]:
    """Prune a body that was sent whole; refuse with 400 what strict validation does not allow."""
    what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    try:
        unknown = prune(resource, obj)
    except TypeMismatchError as error:
        raise bad_request(f"{what}{error}") from None
    if unknown and strict:
        raise bad_request(what + _strict_error(unknown))
    return unknown


def check_patched(resource: Resource, obj: Json, *, strict: bool) -> list[str]:
    """Prune what a patch makes of an object; refuse with 422 what strict validation does not allow."""
    try:
        unknown = prune(resource, obj)
    except TypeMismatchError as error:
        raise _invalid_patch(str(error)) from None
    if unknown and strict:
        raise _invalid_patch(_strict_error(unknown))
    return unknown


def _strict_error(paths: list[str]) -> str:
    return "strict decoding error: " + ", ".join(f'unknown field "{path}"' for path in paths)


def _invalid_patch(text: str) -> StatusError:
    """Answer as the real server does, less the whole object that it puts into the message."""
    cause = {"reason": "FieldValueInvalid", "message": f"Invalid value: {text}", "field": "patch"}
    return StatusError(422, "Invalid", f' "" is invalid: patch: Invalid value: {text}', {"causes": [cause]})


@cache
def _fields_of(model: str) -> dict[str, str] | None:
    """Return the fields of a model with their types; None for what is no model."""
    found = getattr(importlib.import_module(MODELS), model, None)
    types: dict[str, str] | None = getattr(found, "openapi_types", None)
    if found is None or types is None:
        return None
    return {found.attribute_map[name]: kind for name, kind in types.items()}


def _prune(schema: dict[str, str], obj: Json, path: str) -> Iterator[str]:
    for name in list(obj):
        where = f"{path}.{name}" if path else name
        if name not in schema:
            del obj[name]
            yield where
        elif obj[name] is not None:
            yield from _value(schema[name], obj[name], where)


def _value(kind: str, value: Any, path: str) -> Iterator[str]:
    if kind in SCALARS:
        if not isinstance(value, SCALARS[kind]) or (kind != "bool" and isinstance(value, bool)):
            raise TypeMismatchError(_mismatch(value, path, GO_NAMES[kind]))
    elif match := CONTAINER.fullmatch(kind):
        yield from _container(match[1].lower(), match[2], value, path)
    elif (schema := _fields_of(kind)) is not None:
        if not isinstance(value, dict):
            raise TypeMismatchError(_mismatch(value, path, kind))
        yield from _prune(schema, value, path)


def _container(outer: str, inner: str, value: Any, path: str) -> Iterator[str]:
    if outer == "list" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _value(inner, item, f"{path}[{index}]")
    elif outer == "dict" and isinstance(value, dict):
        for key, item in value.items():
            yield from _value(inner, item, f"{path}.{key}")
    else:
        go_type = f"[]{inner}" if outer == "list" else f"map[string]{inner}"
        raise TypeMismatchError(_mismatch(value, path, go_type))


def _mismatch(value: Any, path: str, wanted: str) -> str:
    found = JSON_NAMES.get(type(value), "value")
    return f"json: cannot unmarshal {found} into Go struct field .{path} of type {wanted}"
