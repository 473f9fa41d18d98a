"""Where Temporal is, for every command that asks it: the options of the `temporal` CLI, by the same names.

Each is an environment variable said aloud, so that the worker, both command lines and the config file agree on what
they mean; TLS and the API key come from there, as `TEMPORAL_TLS_...` and `TEMPORAL_API_KEY`.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

PANEL = "Temporal (TLS, API key: TEMPORAL_..., or the config file)"


def _option(name: str, metavar: str, text: str, *short: str) -> Any:
    variable = f"TEMPORAL_{name.upper().replace('-', '_')}"

    def set_variable(value: str | None) -> str | None:
        """Completion sees it too: options are read from left to right."""
        if value is not None:
            os.environ[variable] = value
        return value

    return Annotated[
        str | None,
        typer.Option(
            f"--{name}",
            *short,
            metavar=metavar,
            help=f"{text} ({variable}).",
            rich_help_panel=PANEL,
            callback=set_variable,
            show_default=False,
        ),
    ]


OPTIONS = {
    "address": _option("address", "HOST:PORT", "Temporal's address, localhost:7233 by default"),
    "namespace": _option("namespace", "NAMESPACE", "Its namespace", "-n"),
    "profile": _option("profile", "NAME", "Profile of the config file"),
    "config_file": _option("config-file", "FILE", "Config file of the temporal CLI"),
}


def asks_temporal(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; their values reach it by the environment."""

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        command(**{name: value for name, value in given.items() if name not in OPTIONS})

    own = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True) | OPTIONS
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in OPTIONS.items()
    ]
    parameters = [each.replace(annotation=hints[each.name]) for each in own.parameters.values()]
    with_options.__signature__ = own.replace(parameters=[*parameters, *added])  # type: ignore[attr-defined]
    with_options.__annotations__ = hints
    return with_options
