"""`replace-etcd watch`, `status`, `list`, `doctor`: everything that only looks."""

from __future__ import annotations

from typing import Annotated

import typer

from replace_etcd.cli import completion, options, running

Text = str | None
Name = Annotated[str, options.run_name(completion.user_clusters)]


def watch(*, name: Name, as_json: options.AsJson = False) -> None:
    """Follow a replacement to its end: each step, how far it is, and what it waits for.

    The exit code is that of the outcome: 0 replaced or planned, 2 bad input,
    3 refused or declined, 4 rolled back, 5 cancelled, 6 left incomplete or interrupted.
    Ctrl-C (130) ends the watching only. With --json the result follows at the end.
    """
    from replace_etcd.cli import commands  # noqa: PLC0415 - so that --help answers at once

    running.run(commands.watch(name, as_json=as_json), farewell="no longer followed; the replacement goes on")


def status(*, name: Name, as_json: options.AsJson = False) -> None:
    """Show once where a replacement stands, or how it ended; exit code 0 either way."""
    from replace_etcd.cli import commands  # noqa: PLC0415 - so that --help answers at once

    running.run(commands.status(name, as_json=as_json))


def list_(
    *,
    user_cluster: options.UserCluster = None,
    replica: Annotated[Text, typer.Option(metavar="kube-etcd-N", help="Of this replica.")] = None,
    incident: Annotated[Text, typer.Option(help="For this incident.")] = None,
    requested_by: Annotated[Text, typer.Option(help="Asked for by this person.")] = None,
    outcome: Annotated[
        options.OutcomeName | None, typer.Option(help="That ended so.", show_default=False)
    ] = None,
    running_only: Annotated[bool, typer.Option("--running", help="Only those that run.")] = False,
    closed_only: Annotated[bool, typer.Option("--closed", help="Only those that have ended.")] = False,
    since: Annotated[
        Text, typer.Option(metavar="7d|12h|30m", help="Started within this time.", show_default=False)
    ] = None,
    plans: Annotated[bool, typer.Option("--plans/--no-plans", help="Plans (dry runs) too, or not.")] = True,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    as_json: options.AsJson = False,
) -> None:
    """List replacements, those that run and those that have ended, as long as Temporal keeps them."""
    from replace_etcd.cli import listing  # noqa: PLC0415 - so that --help answers at once

    running.run(
        listing.list_them(
            listing.Wanted(
                user_cluster=user_cluster,
                replica=replica,
                incident=incident,
                requested_by=requested_by,
                outcome=outcome,
                running=running_only,
                closed=closed_only,
                since=since,
                plans=plans,
            ),
            limit,
            as_json=as_json,
        )
    )


def doctor(
    *,
    user_cluster: options.UserCluster = None,
    as_json: options.AsJson = False,
) -> None:
    """Examine what a replacement needs, as the worker sees it; changes nothing.

    Does a worker poll, does it reach the admin cluster, are the search attributes there,
    which permissions are missing (with --user-cluster also in its namespace), do the
    settings fit. Exit codes: 0 nothing refuses (warnings may be there), 1 no worker, 3 something refuses.
    """
    from replace_etcd.cli import examining  # noqa: PLC0415 - so that --help answers at once

    running.run(examining.examine(user_cluster, as_json=as_json))
