"""The command line, `replace-etcd`: a client of Temporal for replacements, and the lab for trying them out.

It never touches Kubernetes; only the demo and the lab commands import the lab. Each command loads what it needs when
it runs, so that `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from replace_etcd.cli import answers, api, audit, lab, looking, replacement
from replace_etcd.cli.connection import asks_temporal
from replace_etcd.cli.demo import demo
from replace_etcd.leaving import leave_with

TRY = "Try it on this machine"

app = typer.Typer(
    name="replace-etcd",
    help="""Replaces a failed etcd replica of a kubeception user cluster, as a durable Temporal workflow.

Begin with plan, which changes nothing; then start, watch, and answer where it asks.

Exit codes: 0 done; 1 failed (no worker, an error of Temporal); 2 bad input;
3 refused or declined; 4 rolled back; 5 cancelled; 6 left incomplete or
interrupted; 130 Ctrl-C (what was started goes on).
""",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _add(panel: str, *functions: Callable[..., None]) -> None:
    for function in functions:
        name = function.__name__.strip("_").replace("_", "-")
        app.command(name, rich_help_panel=panel)(asks_temporal(function))


_add("Replace", replacement.plan, replacement.start, replacement.take_over)
_add(
    "Answer one that runs",
    *(answers.approve, answers.decline, answers.resolve, answers.abort, answers.confirm_node_down),
)
_add("Look", looking.watch, looking.status, looking.list_, looking.doctor)
app.command(rich_help_panel=TRY)(demo)
app.add_typer(audit.app, name="audit", rich_help_panel="Look")
app.add_typer(lab.app, name="lab", rich_help_panel=TRY)
app.add_typer(api.app, name="api", rich_help_panel="Serve")


def main() -> None:
    """The entry point of the script `replace-etcd`."""
    leave_with(app)
