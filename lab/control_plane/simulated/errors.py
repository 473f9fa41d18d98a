"""Failures as the API server reports them: a Status object with code, reason, message, details and causes.

The product decides by code, reason and causes; the messages are the real ones because people read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.control_plane.simulated.resources import Resource

Json = dict[str, Any]
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class StatusError(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> Json:
        """The Status object that goes over the wire."""
        body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        return body | {"code": self.code}


def success(resource: Resource | None = None, name: str = "", uid: str = "") -> Json:
    """The Status object of a request that succeeded and has no object to return."""
    body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if resource is not None:
        body["details"] = _about(resource, name) | {"uid": uid}
    return body


def _about(resource: Resource, name: str) -> Json:
    about = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in about.items() if value}


def not_found(resource: Resource, name: str) -> StatusError:
    """No such object."""
    return StatusError(404, "NotFound", f'{resource.qualified} "{name}" not found', _about(resource, name))


def no_such_path() -> StatusError:
    """No such resource or path; the real server says this much and no more."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: Resource, name: str) -> StatusError:
    """The name is taken."""
    message = f'{resource.qualified} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _about(resource, name))


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> StatusError:
    """The object is not, or no longer, the one that the caller means."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _about(resource, name))


def precondition_failed(resource: Resource, name: str, why: str) -> StatusError:
    """A precondition of a deletion does not hold; the real message names the kind here, not the resource."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = _about(resource, name) | {"kind": resource.kind}
    return StatusError(409, "Conflict", f'Operation cannot be fulfilled on {kind} "{name}": {why}', details)


def bad_request(message: str) -> StatusError:
    """The request makes no sense."""
    return StatusError(400, "BadRequest", message)


def invalid(resource: Resource, name: str, problems: Sequence[tuple[str, str, str]]) -> StatusError:
    """The object breaks a rule; each problem is (field, reason, message)."""
    causes = [{"reason": reason, "message": text, "field": path} for path, reason, text in problems]
    texts = [f"{path}: {text}" if path else text for path, _, text in problems]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = {"name": name, "group": resource.group, "kind": resource.kind, "causes": causes}
    return StatusError(
        422,
        "Invalid",
        f'{kind} "{name}" is invalid: {text}',
        {key: value for key, value in details.items() if value},
    )


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Json] = ()) -> StatusError:
    """The caller may not do this, or the object's state does not allow it."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    details = _about(resource, name) | ({"causes": list(causes)} if causes else {})
    return StatusError(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def internal(message: str) -> StatusError:
    """The server's own failure; a plain error, without a reason, as some of the real ones are."""
    return StatusError(500, "", message)


def gone(message: str) -> StatusError:
    """A resourceVersion that history does not reach back to."""
    return StatusError(410, "Expired", message)
