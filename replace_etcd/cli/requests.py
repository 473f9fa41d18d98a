"""Turns options or JSON into the one input of the workflow; pure.

The request is judged here by the same model as in the workflow, so that a typing error costs a second, not a run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from replace_etcd.cli.exits import CliError
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.narration import invalid_input


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
