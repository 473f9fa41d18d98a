"""`replace-etcd lab`: the embedded admin cluster by itself, to do the runbook by hand or to try faults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replace_etcd.cli import options, running

app = typer.Typer(
    help="An admin cluster with a real three-member etcd on this machine, to try things out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Directory = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="The lab's directory: its kubeconfig and control socket.")
]


@app.command()
def up(
    *,
    directory: Directory,
    etcd: options.Etcd = None,
    kubernetes: options.ControlPlane = "simulated",
    database_size: options.DatabaseSize = "0",
    pod_management: options.PodManagement = "OrderedReady",
) -> None:
    """Run a lab in the foreground until Ctrl-C, which takes everything down."""
    from replace_etcd.cli import lab_commands  # noqa: PLC0415 - so that --help answers at once

    choice = options.LabChoice(etcd, kubernetes, database_size, pod_management)
    running.run(lab_commands.up(directory, choice), farewell="taking the lab down")


@app.command("break")
def break_(
    *,
    directory: Directory,
    replica: Annotated[str, typer.Argument(metavar="REPLICA", help="kube-etcd-N, or leader.")],
    fault: options.Fault = "corrupt-wal",
) -> None:
    """Destroy a member of a lab that runs."""
    from replace_etcd.cli import lab_commands  # noqa: PLC0415 - so that --help answers at once

    running.run(lab_commands.destroy(directory, replica, fault))


@app.command()
def status(
    *,
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the members, pods and nodes of a lab that runs."""
    from replace_etcd.cli import lab_commands  # noqa: PLC0415 - so that --help answers at once

    running.run(lab_commands.status(directory, as_json=as_json))
