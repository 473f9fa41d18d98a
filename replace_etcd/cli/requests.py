"""Turns options or JSON into the one input of the workflow, its id, and the words that the Web UI shows for it; pure.

The request is judged here by the same model as in the workflow, so that a typing error costs a second, not a run.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from replace_etcd.cli.exits import CliError
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.narration import invalid_input

REPLACEMENT_PREFIX = "replace-etcd."
PLAN_PREFIX = "plan-etcd."


def read_input(text: str | None) -> dict[str, Any]:
    """Read `--input`: JSON, or the file that `@` names."""
    if text is None:
        return {}
    source = text
    try:
        if text.startswith("@"):
            source = Path(text[1:]).read_text()
        given = json.loads(source)
    except OSError as error:
        raise CliError(
            f"--input: {text[1:]} cannot be read ({error.strerror}); name a file with JSON"
        ) from None
    except ValueError as error:
        raise CliError(f"--input is not JSON ({error}); give an object, or @FILE") from None
    if not isinstance(given, dict):
        raise CliError('--input must be a JSON object such as {"user_cluster": "user-cluster-1"}')
    return given


def build_request(given: Mapping[str, Any], options: Mapping[str, Any]) -> ReplacementRequest:
    """Put both together; an option that was set wins over the JSON."""
    wanted = {**given, **{name: value for name, value in options.items() if value is not None}}
    if "user_cluster" not in wanted:
        raise CliError("user_cluster is missing; name it with --user-cluster NAMESPACE or in --input")
    try:
        return ReplacementRequest.model_validate(wanted)
    except ValidationError as error:
        raise CliError(invalid_input(error)) from None


def payload(request: ReplacementRequest) -> dict[str, Any]:
    """The JSON that is sent: only what was asked for, so that the worker's defaults stay the worker's."""
    return request.model_dump(mode="json", exclude_unset=True)


def workflow_id(request: ReplacementRequest) -> str:
    """One id for each user cluster, so that Temporal keeps a second replacement out; plans never collide."""
    if not request.dry_run:
        return f"{REPLACEMENT_PREFIX}{request.user_cluster}"
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{PLAN_PREFIX}{request.user_cluster}.{moment}-{secrets.token_hex(2)}"


def workflow_id_of(name: str) -> str:
    """The id of a replacement, named by its user cluster or by the id itself."""
    return name if "." in name else f"{REPLACEMENT_PREFIX}{name}"


def summary(request: ReplacementRequest) -> str:
    """One line for the list of workflows."""
    verb = "plan to replace" if request.dry_run else "replace"
    incident = f" ({request.incident})" if request.incident else ""
    return f"{verb} {request.failed_replica or 'the failed etcd replica'} of {request.user_cluster}{incident}"


def static_details(request: ReplacementRequest) -> str:
    """Who asked for what, and why, as Markdown for the page of the workflow."""
    lines = [f"**{summary(request)}**", ""]
    for name, value in payload(request).items():
        lines.append(f"- {name}: {value if isinstance(value, str) else json.dumps(value)}")
    return "\n".join(lines)
