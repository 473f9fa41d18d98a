"""`replace-etcd api`: the HTTP API for incident tooling, and the tokens that it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replace_etcd.cli.connection import asks_temporal

Listen = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where to listen.", show_default="127.0.0.1:8080"),
]

app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)


@app.callback()
@asks_temporal
def api(context: typer.Context, *, listen: Listen = None) -> None:
    """Serve the HTTP API for incident tooling until Ctrl-C or SIGTERM.

    Its settings are REPLACE_ETCD_API_... and those of Temporal and the audit
    store (docs/api.md). Exit codes: 0 stopped, 2 it cannot start.
    """
    if context.invoked_subcommand is None:
        from replace_etcd.cli import api_commands  # noqa: PLC0415 - so that --help answers at once

        raise typer.Exit(api_commands.serve(listen))


@app.command()
def token(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: it stands in the audit.")],
    role: Annotated[
        list[str],
        typer.Option("--role", metavar="read|start|approve|alert", help="Give it again for more."),
    ],
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="Add its hash here.", show_default="REPLACE_ETCD_API_TOKENS_FILE"
        ),
    ] = None,
) -> None:
    """Make a token, add its hash to the file of tokens, and print it, once.

    A server that runs knows it at once. To withdraw a token, delete its line.
    """
    from replace_etcd.cli import api_commands  # noqa: PLC0415 - so that --help answers at once

    raise typer.Exit(api_commands.token(name, role, file))
