"""`replace-etcd start`, `status` and `take-over`: replacements, from anywhere with Temporal."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from replace_etcd.cli import options, running

Text = str | None
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def start(
    *,
    user_cluster: options.UserCluster = None,
    replica: options.Replica = None,
    incident: Annotated[Text, typer.Option(help="Incident or ticket, for the audit.")] = None,
    requested_by: Annotated[Text, typer.Option(help="Who asks.", show_default="your login name")] = None,
    reason: Annotated[Text, typer.Option(help="Why, for the audit.")] = None,
    node: Annotated[Text, typer.Option(help="Refuse unless the failed replica is on this node.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look: print the plan and what would refuse it.")
    ] = False,
    require_approval: Annotated[
        bool, typer.Option("--require-approval", help="Wait for the update `approve` after the preflight.")
    ] = False,
    join_as: options.JoinAs = None,
    pdb: options.Pdb = None,
    drain: options.Drain = None,
    keep_emptydir_data: Annotated[
        bool, typer.Option("--keep-emptydir-data", help="Refuse to evict pods with emptyDir volumes.")
    ] = False,
    force_drain: Annotated[
        bool, typer.Option("--force-drain", help="Evict pods that no controller would re-create, too.")
    ] = False,
    given: Annotated[
        Text,
        typer.Option("--input", metavar="JSON|@FILE", help="The whole request; options set win over it."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it; the exit code tells the outcome.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start the replacement of a failed etcd replica.

    Exit codes with --wait: 0 replaced or planned, 2 bad input,
    3 refused or declined, 4 rolled back, 5 cancelled,
    6 left incomplete or interrupted.
    """
    from replace_etcd.cli import commands  # noqa: PLC0415 - so that --help answers at once

    wanted: dict[str, Any] = {
        "user_cluster": user_cluster,
        "failed_replica": replica,
        "incident": incident,
        "requested_by": requested_by or (None if given else _login_name()),
        "reason": reason,
        "node": node,
        "dry_run": dry_run or None,
        "require_approval": require_approval or None,
        "join_as": join_as,
        "pod_disruption_budget": pdb,
        "drain": drain,
        "delete_emptydir_data": False if keep_emptydir_data else None,
        "force_drain": force_drain or None,
    }
    running.run(
        commands.start(given, wanted, wait=wait, as_json=as_json),
        farewell="no longer followed; a replacement that was started goes on",
    )


def status(
    *,
    name: Annotated[
        Text,
        typer.Argument(metavar="[USER_CLUSTER|ID]", help="User cluster or workflow id; none: list them all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where a replacement stands, or how it ended; without a name, list them."""
    from replace_etcd.cli import commands  # noqa: PLC0415 - so that --help answers at once

    running.run(commands.status(name, as_json=as_json))


def take_over(
    *,
    user_cluster: Annotated[
        str, typer.Argument(metavar="USER_CLUSTER", help="Namespace of the user cluster.")
    ],
    reason: Annotated[
        str, typer.Option(help="Why nobody can say whether its run lives, and how you know that it does not.")
    ],
    requested_by: Annotated[Text, typer.Option(help="Who asks.", show_default="your login name")] = None,
    as_json: AsJson = False,
) -> None:
    """Put back what a replacement has left whose own Temporal is gone, or knows it no more.

    A run that is known to live is never touched. Exit codes: 0 put back,
    or at rest where it is safe; 2 bad input; 3 refused.
    """
    from replace_etcd.cli import taking_over  # noqa: PLC0415 - so that --help answers at once

    running.run(
        taking_over.take_over(user_cluster, reason, requested_by or _login_name(), as_json=as_json),
        farewell="no longer followed; what was started goes on",
    )


def _login_name() -> Text:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for this user
        return None
