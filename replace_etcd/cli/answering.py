"""What the answering commands do: judge the words, see that somebody can hear them, send them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import ValidationError
from rich.console import Console
from temporalio.client import WorkflowExecutionStatus

from replace_etcd import answers, replacements
from replace_etcd.cli import runs
from replace_etcd.cli.exits import CliError, Exit
from replace_etcd.models import Input
from replace_etcd.models.request import Approval, Resolution, Word
from replace_etcd.narration import invalid_input

WORDS: dict[str, type[Input]] = {
    "approve": Approval,
    "decline": Approval,
    "resolve": Resolution,
    "abort": Word,
    "confirm_node_down": Word,
}
HEARD_WITHIN = timedelta(seconds=60)


async def answer(name: str, update: str, said: Mapping[str, str | None]) -> int:
    """Send it, and say what the replacement made of it."""
    word = _judged(update, said)
    async with runs.connected() as client:
        described = await runs.described(client, replacements.workflow_id_of(name))
        if described.status is not WorkflowExecutionStatus.RUNNING:
            ended = described.status.name.lower() if described.status else "ended"
            raise CliError(
                f"{described.id} does not run any more ({ended}): nothing can be told to it; see how it ended with:"
                f" replace-etcd status {answers.user_cluster_of(described.id)}",
                Exit.REFUSED,
            )
        if not await replacements.has_worker(client, described.task_queue):
            raise CliError(
                f"{replacements.nobody_works(described.task_queue)}; nothing was sent", Exit.FAILED
            )
        try:
            await replacements.answer(
                replacements.handle(client, described.id, described.run_id), update, word, within=HEARD_WITHIN
            )
        except replacements.NotTaken as error:
            raise CliError(f"not taken: {error}", Exit.REFUSED) from None
        except TimeoutError as error:
            raise CliError(
                f"{error}: it may still be taken; see whether a worker runs, and where it stands with: "
                f"replace-etcd status {answers.user_cluster_of(described.id)}",
                Exit.FAILED,
            ) from None
    Console(soft_wrap=True, highlight=False).print(
        f"{described.id} has taken it; see what it does with: "
        f"replace-etcd watch {answers.user_cluster_of(described.id)}",
        markup=False,
    )
    return Exit.OK


def _judged(update: str, said: Mapping[str, str | None]) -> Input:
    kind = WORDS[update]
    try:
        return kind.model_validate(dict(said))
    except ValidationError as error:
        raise CliError(invalid_input(error, kind)) from None
