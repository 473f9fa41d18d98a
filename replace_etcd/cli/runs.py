"""Runs of the workflow as Temporal knows them: start one, see whether anybody works on it, learn how it ended.

The command line is a client of Temporal only; what happens in the admin cluster is the worker's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)
from temporalio.service import RPCError

from replace_etcd import temporal
from replace_etcd.cli import requests
from replace_etcd.cli.exits import OF_OUTCOME, CliError, Exit
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.result import Outcome, Progress, ReplacementResult
from replace_etcd.settings import Settings

WORKFLOW = "ReplaceEtcdReplica"
Handle = WorkflowHandle[Any, ReplacementResult]

# A worker's poll is answered after at most a minute; one that asked longer ago has gone.
POLLS_EVERY = timedelta(seconds=75)
ANSWER_WITHIN = timedelta(seconds=5)


@dataclass(frozen=True)
class Ending:
    """How a run ended; `outcome` is None where the run never got as far as having one."""

    outcome: Outcome | None
    reason: str
    result: ReplacementResult | None
    code: int


@dataclass(frozen=True)
class Attempt:
    """What Temporal knows of the step that runs: which attempt it is, and why the last one failed."""

    number: int
    failure: str


def task_queue() -> str:
    """The task queue that the worker's settings name."""
    try:
        return Settings().task_queue
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise CliError(f"REPLACE_ETCD_{str(problem['loc'][0]).upper()}: {problem['msg']}") from None


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """A client of the Temporal that `TEMPORAL_*` names."""
    async with temporal_errors():
        yield await temporal.connect()


@asynccontextmanager
async def temporal_errors() -> AsyncIterator[None]:
    """What Temporal complains of, as the command's one sentence."""
    try:
        yield
    except temporal.NotReady as error:
        raise CliError(str(error)) from None
    except RPCError as error:
        raise CliError(f"Temporal answers with an error: {error.message}", Exit.FAILED) from None


async def start(client: Client, request: ReplacementRequest, task_queue: str) -> Handle:
    """Start it, unless one runs for this user cluster already."""
    wanted = requests.workflow_id(request)
    try:
        started = await client.start_workflow(
            WORKFLOW,
            requests.payload(request),
            id=wanted,
            task_queue=task_queue,
            result_type=ReplacementResult,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=requests.summary(request),
            static_details=requests.static_details(request),
        )
    except WorkflowAlreadyStartedError as error:
        raise CliError(
            f"{wanted} runs already (run {error.run_id}); follow it with: replace-etcd status"
            f" {request.user_cluster}",
            Exit.REFUSED,
        ) from None
    return handle(client, wanted, started.first_execution_run_id)


def handle(client: Client, workflow_id: str, run_id: str | None) -> Handle:
    """One run, or with None the newest of that id."""
    return client.get_workflow_handle(workflow_id, run_id=run_id, result_type=ReplacementResult)


async def has_worker(client: Client, task_queue: str) -> bool:
    """Whether a worker asks for the tasks of this queue."""
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    since = datetime.now(UTC) - POLLS_EVERY
    return any(poller.last_access_time.ToDatetime(UTC) > since for poller in answer.pollers)


def nobody_works(task_queue: str) -> str:
    """What to say where no worker polls."""
    return f"no worker polls the task queue {task_queue}: nothing happens until one runs (python worker.py)"


async def progress(run: Handle) -> Progress | None:
    """Where a run stands; None when its worker does not answer."""
    try:
        answer: Progress = await run.query("progress", result_type=Progress, rpc_timeout=ANSWER_WITHIN)
    except (RPCError, WorkflowQueryFailedError):
        return None
    return answer


def attempt(described: WorkflowExecutionDescription, seen: Progress | None) -> Attempt | None:
    """The step that runs, where it is not its first attempt."""
    for pending in described.raw_description.pending_activities:
        if pending.attempt > 1 and seen is not None and pending.activity_type.name == seen.current:
            return Attempt(pending.attempt, pending.last_failure.message)
    return None


async def ending(run: Handle) -> Ending:
    """Wait for the end of a run."""
    try:
        result = await run.result()
    except WorkflowFailureError as error:
        return _unfinished(error.cause)
    return Ending(result.outcome, result.reason, result, OF_OUTCOME[result.outcome])


def _unfinished(cause: BaseException | None) -> Ending:
    """An end that is not a result; the contract says which error type stands for which outcome."""
    if isinstance(cause, CancelledError):
        return _ended(Outcome.CANCELLED, "stopped before the removal; everything is back")
    if isinstance(cause, TerminatedError | TimeoutError):
        return _ended(Outcome.INTERRUPTED, f"ended from outside: {cause.message or 'no reason was given'}")
    if not isinstance(cause, ApplicationError):
        return Ending(None, str(cause), None, Exit.FAILED)
    result = _detail(cause)
    if result is not None:
        return Ending(result.outcome, cause.message, result, OF_OUTCOME[result.outcome])
    return Ending(None, cause.message, None, Exit.BAD_INPUT if cause.type == "InvalidInput" else Exit.FAILED)


def _ended(outcome: Outcome, reason: str) -> Ending:
    return Ending(outcome, reason, None, OF_OUTCOME[outcome])


def _detail(error: ApplicationError) -> ReplacementResult | None:
    try:
        return ReplacementResult.model_validate(error.details[0]) if error.details else None
    except ValidationError:
        return None
