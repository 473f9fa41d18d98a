"""What `take-over` does: it starts the janitor for one user cluster, with the word of a person, and tells the end."""

from __future__ import annotations

from pydantic import ValidationError
from rich.console import Console
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from replace_etcd import replacements
from replace_etcd.cli import runs
from replace_etcd.cli.exits import CliError, Exit, complain
from replace_etcd.models.restoring import ID_PREFIX, WORKFLOW_TYPE, Restored, RestoreRequest, RestoreResult
from replace_etcd.narration import invalid_input

Handle = WorkflowHandle[object, RestoreResult]


async def take_over(user_cluster: str, reason: str, requested_by: str | None, *, as_json: bool) -> int:
    """Start it and wait for its end; the exit code tells whether the record could be taken."""
    request = _request(user_cluster, reason, requested_by)
    task_queue = runs.task_queue()
    async with runs.connected() as client:
        handle = await _start(client, request, task_queue)
        if not await replacements.has_worker(client, task_queue):
            complain(replacements.nobody_works(task_queue))
        try:
            result = await handle.result()
        except WorkflowFailureError as failure:
            raise CliError(f"{handle.id} failed: {failure.cause}", Exit.FAILED) from None
    return _tell(user_cluster, result, as_json=as_json)


def _request(user_cluster: str, reason: str, requested_by: str | None) -> RestoreRequest:
    try:
        return RestoreRequest(user_cluster=user_cluster, take_over=reason, requested_by=requested_by)
    except ValidationError as error:
        raise CliError(invalid_input(error, RestoreRequest)) from None


async def _start(client: Client, request: RestoreRequest, task_queue: str) -> Handle:
    wanted = f"{ID_PREFIX}{request.user_cluster}"
    try:
        return await client.start_workflow(
            WORKFLOW_TYPE,
            request.model_dump(mode="json", exclude_unset=True),
            id=wanted,
            task_queue=task_queue,
            result_type=RestoreResult,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=f"take over {request.user_cluster} by hand: {request.take_over}",
        )
    except WorkflowAlreadyStartedError as error:
        raise CliError(
            f"{wanted} runs already (run {error.run_id}): the janitor is at it; wait for its end",
            Exit.REFUSED,
        ) from None


def _tell(user_cluster: str, result: RestoreResult, *, as_json: bool) -> int:
    if as_json:
        print(result.model_dump_json(indent=2))  # noqa: T201 - for programs: no colours, no wrapping
    if not result.records:
        complain(f"there is no record of a replacement in {user_cluster}: nothing to take over")
        return Exit.REFUSED
    (record,) = result.records
    if record.outcome is None:
        complain(f"not taken over, nothing was changed: {_why_not(record)}")
        return Exit.REFUSED
    if not as_json:
        _print(record)
    return Exit.OK


def _why_not(record: Restored) -> str:
    words = f"the record of {record.workflow_id or record.user_cluster} is {record.verdict.value}"
    return f"{words} ({record.reason})" if record.reason else words


def _print(record: Restored) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(record.reason, markup=False)
    for name, items in (("restored", record.restored), ("left", record.left)):
        if items:
            console.print(f"{name}: {', '.join(items)}", markup=False)
