"""Who owns fields of an object, by `metadata.managedFields`; pure.

A manager that *applies* a field (server-side apply, as GitOps tools do) puts it back at its next apply, whoever
edits it meanwhile; one that updates it once does not
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
"""

import json
from datetime import datetime
from typing import Any

from replace_etcd.cluster import Object
from replace_etcd.models import Message

APPLY = "Apply"


class FieldOwner(Message):
    """A manager that owns at least one of the fields that were asked for."""

    manager: str
    operation: str
    time: datetime | None = None
    fields: list[str]


def owners(found: Object, pointers: list[str]) -> list[FieldOwner]:
    """The managers of the fields at these JSON pointers; an item of a list of values belongs to the whole list."""
    paths = {pointer: _path(found, pointer) for pointer in pointers}
    answer = []
    for entry in found["metadata"].get("managedFields") or []:
        if entry.get("subresource"):
            continue
        owned = [pointer for pointer, path in paths.items() if _owns(entry.get("fieldsV1") or {}, path)]
        if owned:
            fields = {"manager": entry.get("manager", ""), "operation": entry["operation"], "fields": owned}
            answer.append(FieldOwner.model_validate(fields | {"time": entry.get("time")}))
    return answer


def _path(document: Any, pointer: str) -> list[str]:
    """A JSON pointer in the notation of fieldsV1: `f:name`, and `k:{"name":"x"}` for an item of a list of objects."""
    steps = []
    for part in pointer.strip("/").split("/"):
        if not isinstance(document, list):
            steps.append(f"f:{part}")
            document = document.get(part, {}) if isinstance(document, dict) else {}
            continue
        document = document[int(part)]
        if not isinstance(document, dict):
            break
        steps.append("k:" + json.dumps({"name": document["name"]}, separators=(",", ":")))
    return steps


def _owns(fields: Any, path: list[str]) -> bool:
    for step in path:
        if not isinstance(fields, dict) or step not in fields:
            return False
        fields = fields[step]
    return True
