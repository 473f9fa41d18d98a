"""The command line, `replace-etcd`: a client of Temporal for replacements, and the lab for trying them out.

It never touches Kubernetes; only the demo and the lab commands import the lab. Each command loads what it needs when
it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import typer

from replace_etcd.cli import api, lab, replacement
from replace_etcd.cli.demo import demo
from replace_etcd.leaving import leave_with

app = typer.Typer(
    name="replace-etcd",
    help="Replaces a failed etcd replica of a kubeception user cluster, as a durable Temporal workflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(replacement.start)
app.command()(replacement.status)
app.command()(replacement.take_over)
app.command()(demo)
app.add_typer(api.app, name="api")
app.add_typer(lab.app, name="lab")


def main() -> None:
    """The entry point of the script `replace-etcd`."""
    leave_with(app)
