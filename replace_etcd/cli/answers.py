"""`replace-etcd approve`, `decline`, `resolve`, `abort`, `confirm-node-down`: what a replacement can be told."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from replace_etcd.cli import completion, running
from replace_etcd.cli.options import login_name, run_name

Text = str | None
ChoiceName = Literal["retry", "abandon"]
Name = Annotated[str, run_name(completion.running)]
By = Annotated[Text, typer.Option("--by", help="Who says so.", show_default="your login name")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit.", show_default=False)]


def approve(
    *, name: Name, by: By = None, comment: Annotated[str, typer.Option(help="For the audit.")] = ""
) -> None:
    """Let a replacement that waits for approval carry out its plan.

    Everything is looked at once more; where the cluster has changed since, it is refused.
    """
    _answer(name, "approve", {"approver": by or login_name(), "comment": comment})


def decline(
    *, name: Name, by: By = None, comment: Annotated[str, typer.Option(help="Why, for the audit.")] = ""
) -> None:
    """Let a replacement that waits for approval end, with nothing changed."""
    _answer(name, "decline", {"approver": by or login_name(), "comment": comment})


def resolve(
    *,
    choice: Annotated[
        ChoiceName, typer.Argument(metavar="retry|abandon", help="What to do.", show_default=False)
    ],
    name: Name,
    by: By = None,
    reason: Reason = "",
) -> None:
    """Say what is to become of a replacement that holds.

    retry: look at everything again and go on from what is there.
    abandon: leave it as it rests, which is safe; a new start goes on from there.
    """
    _answer(name, "resolve", {"choice": choice, "by": by or login_name(), "reason": reason})


def abort(*, name: Name, by: By = None, reason: Reason = "") -> None:
    """Stop a replacement: before the removal everything goes back, after it the replacement is finished."""
    _answer(name, "abort", {"by": by or login_name(), "reason": reason})


def confirm_node_down(
    *,
    name: Name,
    by: By = None,
    reason: Annotated[str, typer.Option(help="How you know that the machine is off.", show_default=False)],
) -> None:
    """Stand for it that the machine of the failed replica is off.

    Its pod is deleted by force and starts on another node. A machine that runs on could
    write to the volume at the same time: see that it is off first.
    """
    _answer(name, "confirm_node_down", {"by": by or login_name(), "reason": reason})


def _answer(name: str, update: str, word: dict[str, str | None]) -> None:
    from replace_etcd.cli import answering  # noqa: PLC0415 - so that --help answers at once

    running.run(answering.answer(name, update, word))
