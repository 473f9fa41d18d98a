"""`replace-etcd demo`: the main job from beginning to end on this machine, in a minute, judged at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replace_etcd.cli import options, running


def demo(
    *,
    replica: Annotated[
        str, typer.Option(metavar="kube-etcd-N|leader", help="The member to destroy.")
    ] = "kube-etcd-1",
    fault: options.Fault = "corrupt-wal",
    etcd: options.Etcd = None,
    kubernetes: options.ControlPlane = "simulated",
    database_size: options.DatabaseSize = "0",
    pod_management: options.PodManagement = "OrderedReady",
    pdb: options.Pdb = None,
    drain: options.Drain = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running at the end, until Ctrl-C.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
    ] = None,
) -> None:
    """Destroy an etcd member of a lab and have it replaced, while a writer never stops.

    Starts a Temporal server, an admin cluster with three nodes and a real
    three-member etcd, and the worker; writes continuously, destroys one
    member, runs the workflow, and judges what is left.

    Exit code 0 only if the member was replaced, no write was lost, no
    healthy member restarted, and everything is as it was before.
    """
    from replace_etcd.cli.demo import play  # noqa: PLC0415 - so that --help answers at once

    scene = play.Scene(
        replica=replica,
        fault=fault,
        lab=options.LabChoice(etcd, kubernetes, database_size, pod_management),
        pdb=pdb,
        drain=drain,
        keep=keep,
        json_file=json_file,
    )
    running.run(play.play(scene), farewell="interrupted; taking everything down")
