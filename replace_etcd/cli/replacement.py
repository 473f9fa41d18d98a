"""`replace-etcd plan`, `start` and `take-over`: what begins something, from anywhere with Temporal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from replace_etcd.cli import options, running
from replace_etcd.cli.options import login_name

Text = str | None
Incident = Annotated[Text, typer.Option(help="Incident or ticket, for the audit.")]
RequestedBy = Annotated[Text, typer.Option(help="Who asks.", show_default="your login name")]
OnNode = Annotated[Text, typer.Option(help="Refuse unless the failed replica is on this node.")]
KeepEmptydirData = Annotated[
    bool, typer.Option("--keep-emptydir-data", help="Refuse to evict pods with emptyDir volumes.")
]
ForceDrain = Annotated[
    bool, typer.Option("--force-drain", help="Evict pods that no controller would re-create, too.")
]
RequireSnapshot = Annotated[
    bool, typer.Option("--require-snapshot", help="Refuse where no snapshot of a survivor can be kept.")
]
Given = Annotated[
    Text, typer.Option("--input", metavar="JSON|@FILE", help="The whole request; options set win over it.")
]


def plan(
    *,
    user_cluster: options.UserCluster = None,
    replica: options.Replica = None,
    incident: Incident = None,
    requested_by: RequestedBy = None,
    node: OnNode = None,
    join_as: options.JoinAs = None,
    pdb: options.Pdb = None,
    drain: options.Drain = None,
    keep_emptydir_data: KeepEmptydirData = False,
    force_drain: ForceDrain = False,
    require_snapshot: RequireSnapshot = False,
    given: Given = None,
    as_json: options.AsJson = False,
) -> None:
    """Only look: every verdict, what would be changed, which pods the drain would evict.

    Works while a replacement runs, too. Exit codes: 0 nothing refuses,
    2 bad input, 3 a start would be refused.
    """
    wanted = _wanted(locals())
    from replace_etcd.cli import commands  # noqa: PLC0415 - so that --help answers at once

    running.run(
        commands.plan(given, wanted, as_json=as_json), farewell="no longer waited for; a plan changes nothing"
    )


def start(
    *,
    user_cluster: options.UserCluster = None,
    replica: options.Replica = None,
    incident: Incident = None,
    requested_by: RequestedBy = None,
    reason: Annotated[Text, typer.Option(help="Why, for the audit.")] = None,
    node: OnNode = None,
    require_approval: Annotated[
        bool, typer.Option("--require-approval", help="Wait for approve after the preflight.")
    ] = False,
    join_as: options.JoinAs = None,
    pdb: options.Pdb = None,
    drain: options.Drain = None,
    keep_emptydir_data: KeepEmptydirData = False,
    force_drain: ForceDrain = False,
    require_snapshot: RequireSnapshot = False,
    given: Given = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow it to its end; the exit code tells the outcome.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Start the replacement of a failed etcd replica; one that runs already is refused (3).

    Exit codes with --watch: 0 replaced, 2 bad input, 3 refused or declined,
    4 rolled back, 5 cancelled, 6 left incomplete or interrupted.
    """
    wanted = _wanted(locals())
    from replace_etcd.cli import commands  # noqa: PLC0415 - so that --help answers at once

    running.run(
        commands.start(given, wanted, watch=watch, as_json=as_json),
        farewell="no longer followed; a replacement that was started goes on",
    )


def take_over(
    *,
    user_cluster: Annotated[
        str, typer.Argument(metavar="USER_CLUSTER", help="Namespace of the user cluster.")
    ],
    reason: Annotated[
        str,
        typer.Option(
            help="Why nobody can say whether its run lives, and how you know that it does not; "
            "or why nobody is to finish it."
        ),
    ],
    requested_by: RequestedBy = None,
    as_json: options.AsJson = False,
) -> None:
    """Put back what a replacement has left whose own Temporal is gone, or knows it no more, or that has ended.

    A run that is known to live is never touched. Exit codes: 0 put back,
    or at rest where it is safe; 2 bad input; 3 refused.
    """
    from replace_etcd.cli import taking_over  # noqa: PLC0415 - so that --help answers at once

    running.run(
        taking_over.take_over(user_cluster, reason, requested_by or login_name(), as_json=as_json),
        farewell="no longer followed; what was started goes on",
    )


def _wanted(typed: dict[str, Any]) -> dict[str, Any]:
    """The options that were set, by the names of the request's fields."""
    fields = {"replica": "failed_replica", "pdb": "pod_disruption_budget"}
    beside = ("given", "watch", "as_json", "keep_emptydir_data")
    wanted = {
        fields.get(name, name): None if value is False else value
        for name, value in typed.items()
        if name not in beside
    }
    wanted["delete_emptydir_data"] = False if typed["keep_emptydir_data"] else None
    wanted["requested_by"] = wanted["requested_by"] or (None if typed["given"] else login_name())
    return wanted
