"""Reads the few bodies that kubectl sends as protobuf: `kubectl create KIND NAME` and `kubectl auth can-i`.

Everything else it sends as JSON, and it takes JSON in answer to all. The field numbers are those of the API's
`generated.proto` files; a kind that is not listed here is answered with 415.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lab.control_plane.simulated.errors import StatusError, bad_request

Json = dict[str, Any]

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Message:
    """Which field of a message has which number; `maps` are of text to text, `binary` ones of text to bytes."""

    texts: dict[int, str] = field(default_factory=dict)
    messages: dict[int, tuple[str, Message]] = field(default_factory=dict)
    maps: dict[int, str] = field(default_factory=dict)
    binary: dict[int, str] = field(default_factory=dict)


METADATA = Message(
    texts={1: "name", 2: "generateName", 3: "namespace"}, maps={11: "labels", 12: "annotations"}
)
ATTRIBUTES = Message(
    texts={1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
)
REVIEW = Message(
    messages={
        1: ("resourceAttributes", ATTRIBUTES),
        2: ("nonResourceAttributes", Message(texts={1: "path", 2: "verb"})),
    }
)
KINDS = {
    "ConfigMap": Message(messages={1: ("metadata", METADATA)}, maps={2: "data"}),
    "Namespace": Message(messages={1: ("metadata", METADATA)}),
    "Secret": Message(messages={1: ("metadata", METADATA)}, binary={2: "data"}, texts={3: "type"}),
    "SelfSubjectAccessReview": Message(messages={1: ("metadata", METADATA), 2: ("spec", REVIEW)}),
    "ServiceAccount": Message(messages={1: ("metadata", METADATA)}),
}


def decode_object(body: bytes) -> Json:
    """Read an object in the API's envelope."""
    if not body.startswith(MAGIC):
        raise bad_request("the request body is not a protobuf object")
    envelope = dict(_fields(body[len(MAGIC) :]))
    kind = {number: _text(value) for number, value in _fields(envelope.get(1, b""))}
    schema = KINDS.get(kind.get(2, ""))
    if schema is None:
        text = "the body of the request was in an unknown format - accepted media types include: application/json"
        raise StatusError(415, "UnsupportedMediaType", text, {})
    return {"apiVersion": kind.get(1, ""), "kind": kind[2], **_message(schema, envelope.get(2, b""))}


def _message(schema: Message, data: bytes) -> Json:
    result: Json = {}
    for number, value in _fields(data):
        if number in schema.texts:
            if text := _text(value):
                result[schema.texts[number]] = text
        elif number in schema.messages:
            name, inner = schema.messages[number]
            result[name] = _message(inner, value)
        elif number in schema.maps:
            key, entry = _entry(value)
            result.setdefault(schema.maps[number], {})[key] = _text(entry)
        elif number in schema.binary:
            key, entry = _entry(value)
            result.setdefault(schema.binary[number], {})[key] = base64.b64encode(entry).decode()
    return result


def _entry(data: bytes) -> tuple[str, bytes]:
    parts = dict(_fields(data))
    return _text(parts.get(1, b"")), parts.get(2, b"")


def _text(value: bytes) -> str:
    return value.decode()


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, bytes) of the length-delimited fields; numbers are skipped, nothing here needs one."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == BYTES:
            length, position = _varint(data, position)
            yield number, data[position : position + length]
            position += length
        elif wire == VARINT:
            _, position = _varint(data, position)
        elif wire in (FIXED64, FIXED32):
            position += 8 if wire == FIXED64 else 4
        else:
            raise bad_request("the request body is not valid protobuf")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
    raise bad_request("the request body is not valid protobuf")
