"""`replace-etcd audit`: what became of every replacement, from a database that outlives Temporal's histories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from replace_etcd.cli import running
from replace_etcd.cli.options import AsJson, OutcomeName

app = typer.Typer(
    help="The audit: who asked, who approved, what was done and seen. REPLACE_ETCD_AUDIT names its database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Text = str | None
Moment = Annotated[datetime | None, typer.Option(help="Started at or after this time (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Started before this time (UTC).")]
UserCluster = Annotated[Text, typer.Option(metavar="NAMESPACE", help="Of this user cluster.")]
Replica = Annotated[Text, typer.Option(metavar="kube-etcd-N", help="Of this replica.")]
Incident = Annotated[Text, typer.Option(help="For this incident.")]
Ended = Annotated[OutcomeName | None, typer.Option("--outcome", help="That ended like this.")]
Plans = Annotated[bool, typer.Option("--plans", help="Plans (dry runs), too.")]
Role = Annotated[Text, typer.Option(metavar="NAME")]


@dataclass(frozen=True)
class Wanted:
    """Which replacements; not judged yet: the models do that when the command runs."""

    user_cluster: str | None
    replica: str | None
    incident: str | None
    outcome: str | None
    since: datetime | None
    until: datetime | None
    plans: bool


@app.command("list")
def list_(
    *,
    user_cluster: UserCluster = None,
    replica: Replica = None,
    incident: Incident = None,
    outcome: Ended = None,
    since: Moment = None,
    until: Until = None,
    plans: Plans = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many at once.")] = 50,
    cursor: Annotated[Text, typer.Option(help="Go on from here, as the last page has said.")] = None,
    as_json: AsJson = False,
) -> None:
    """List replacements, the newest first: also those that were refused, or ended from outside."""
    from replace_etcd.cli import audit_commands as commands  # noqa: PLC0415 - so that --help answers at once

    wanted = Wanted(user_cluster, replica, incident, outcome, since, until, plans)
    _run(lambda: commands.show_list(wanted, limit, cursor, as_json=as_json))


@app.command()
def show(
    *,
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Run id, its beginning, workflow id or user cluster.")
    ],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained page for a post-mortem.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one replacement: its plan, each step with what it saw, what people said, and how it ended."""
    from replace_etcd.cli import audit_commands as commands  # noqa: PLC0415

    _run(lambda: commands.show(name, html, as_json=as_json))


@app.command()
def export(
    *,
    user_cluster: UserCluster = None,
    replica: Replica = None,
    incident: Incident = None,
    outcome: Ended = None,
    since: Moment = None,
    until: Until = None,
    plans: Plans = False,
    form: Annotated[
        Literal["jsonl", "csv"],
        typer.Option("--format", help="jsonl: every event, with its hash; csv: a line for each replacement."),
    ] = "jsonl",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there.", show_default="standard output")
    ] = None,
) -> None:
    """Export replacements, as JSON Lines or CSV."""
    from replace_etcd.cli import audit_commands as commands  # noqa: PLC0415

    wanted = Wanted(user_cluster, replica, incident, outcome, since, until, plans)
    _run(lambda: commands.export(wanted, form, output))


@app.command()
def verify(
    *,
    head: Annotated[
        Text, typer.Option(metavar="HASH", help="A head that was noted: the end must hold it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every hash; exit code 1 where something was changed, removed or reordered."""
    from replace_etcd.cli import audit_commands as commands  # noqa: PLC0415

    _run(lambda: commands.verify(head, as_json=as_json))


@app.command("import")
def import_(
    *, files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="temporal workflow show -o json")]
) -> None:
    """Import runs from before the audit, from histories that were exported from Temporal."""
    from replace_etcd.cli import audit_commands as commands  # noqa: PLC0415

    _run(lambda: commands.import_(files))


@app.command()
def migrate(
    *,
    worker: Role = None,
    api: Role = None,
    reader: Role = None,
) -> None:
    """Bring the schema up to date, and grant PostgreSQL roles what they need: none may change what was appended."""
    from replace_etcd.cli import audit_commands as commands  # noqa: PLC0415

    _run(lambda: commands.migrate(worker=worker, api=api, reader=reader))


def _run(command: Callable[[], int]) -> None:
    async def work() -> int:
        return command()

    running.run(work())
