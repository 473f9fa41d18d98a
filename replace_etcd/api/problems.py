"""What goes wrong, told in one form: RFC 9457 bodies, for our own refusals and for the framework's alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class ProblemBody(BaseModel):
    """An error as RFC 9457 has it; some have more fields, as docs/api.md says."""

    type: str = Field(examples=["urn:replace-etcd:already-runs"])
    title: str
    status: int
    detail: str = ""


class Problem(Exception):
    """An answer that is no success: what is wrong, and the way out."""

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        """As it is sent; ASCII, since what somebody sent may not be writable in any other way."""
        body = {
            "type": f"urn:replace-etcd:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        content = json.dumps(body | self.more)
        return Response(content, status_code=self.status, headers=self.headers, media_type=MEDIA_TYPE)


def not_found(what: str) -> Problem:
    """404."""
    return Problem(404, "not-found", what)


def unavailable(detail: str, *, again_in: int = 5) -> Problem:
    """503: try again."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(again_in)})


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer besides success, for its description."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
