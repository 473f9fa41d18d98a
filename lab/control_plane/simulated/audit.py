"""The audit log: one line of JSON for each request, in the form of audit.k8s.io; a change with what it asked for."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp.web import Request

from lab.control_plane.simulated.clock import now
from lab.control_plane.simulated.identity import Caller
from lab.control_plane.simulated.request import Target

Json = dict[str, Any]

READ_ONLY = ("get", "list", "watch")


class AuditLog:
    """Appends to a file, or does nothing when there is none."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("a", buffering=1)

    def record(
        self, request: Request, body: bytes, caller: Caller, target: Target, *, began: datetime, code: int
    ) -> None:
        """Write one line for a request, however it ended."""
        if self._file is None:
            return
        reads = target.verb in READ_ONLY
        entry: Json = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata" if reads else "Request",
            "stage": "ResponseComplete",
            "verb": target.verb,
            "requestURI": request.path_qs,
            "userAgent": request.headers.get("User-Agent", ""),
            "user": {"username": caller.user, "groups": list(caller.groups)},
            "objectRef": {
                "resource": target.resource.plural,
                "namespace": target.namespace,
                "name": target.name or target.selected,
                "apiGroup": target.resource.group,
                "subresource": target.subresource,
            },
            "responseStatus": {"code": code},
            "requestReceivedTimestamp": _moment(began),
            "stageTimestamp": _moment(now()),
        }
        if not reads:
            entry["requestObject"] = _readable(body)
        self._file.write(json.dumps(entry) + "\n")


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _readable(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace") or None
