"""Replacements as Temporal knows them: start one, answer one, see where it stands, learn how it ended.

The command line and the HTTP API are clients of Temporal alike; what happens in the admin cluster is the worker's
business.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd.answers import REPLACEMENT_PREFIX
from replace_etcd.models import Input
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.result import Outcome, Progress, ReplacementResult

PLAN_PREFIX = "plan-etcd."
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
    result: ReplacementResult | None = None
    bad_input: bool = False


@dataclass(frozen=True)
class Attempt:
    """What Temporal knows of the step that runs: which attempt it is, why the last one failed, its last heartbeat."""

    number: int
    failure: str = ""
    words: str = ""
    heard_at: datetime | None = None


class AlreadyRuns(Exception):
    """One replacement of a user cluster runs at a time; `run_id` is the one that does."""

    def __init__(self, workflow_id: str, run_id: str | None) -> None:
        super().__init__(f"{workflow_id} runs already (run {run_id})")
        self.workflow_id = workflow_id
        self.run_id = run_id


class NotTaken(Exception):
    """An answer that a replacement does not take now; the text says why, and `runs` whether it still runs."""

    def __init__(self, why: str, *, runs: bool) -> None:
        super().__init__(why)
        self.runs = runs


def workflow_id(request: ReplacementRequest) -> str:
    """One id for each user cluster, so that Temporal keeps a second replacement out; plans never collide."""
    if not request.dry_run:
        return f"{REPLACEMENT_PREFIX}{request.user_cluster}"
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{PLAN_PREFIX}{request.user_cluster}.{moment}-{secrets.token_hex(2)}"


def workflow_id_of(name: str) -> str:
    """The id of a replacement, named by its user cluster or by the id itself."""
    return name if "." in name else f"{REPLACEMENT_PREFIX}{name}"


def payload(request: ReplacementRequest) -> dict[str, Any]:
    """The JSON that is sent: only what was asked for, so that the worker's defaults stay the worker's."""
    return request.model_dump(mode="json", exclude_unset=True)


def summary(request: ReplacementRequest) -> str:
    """One line for the list of workflows."""
    verb = "plan to replace" if request.dry_run else "replace"
    incident = f" ({request.incident})" if request.incident else ""
    return f"{verb} {request.failed_replica or 'the failed etcd replica'} of {request.user_cluster}{incident}"


def static_details(request: ReplacementRequest) -> str:
    """Who asked for what, and why, as Markdown for the page of the workflow."""
    lines = [f"**{summary(request)}**", ""]
    for name, value in payload(request).items():
        lines.append(f"- {name}: {value if isinstance(value, str) else json.dumps(value)}")
    return "\n".join(lines)


async def start(
    client: Client,
    request: ReplacementRequest,
    task_queue: str,
    *,
    wanted_id: str | None = None,
    memo: Mapping[str, Any] | None = None,
) -> Handle:
    """Start it; `AlreadyRuns` where one runs for this user cluster."""
    wanted = wanted_id or workflow_id(request)
    try:
        started = await client.start_workflow(
            WORKFLOW,
            payload(request),
            id=wanted,
            task_queue=task_queue,
            result_type=ReplacementResult,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=summary(request),
            static_details=static_details(request),
            memo=memo,
        )
    except WorkflowAlreadyStartedError as error:
        raise AlreadyRuns(wanted, error.run_id) from None
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
    """The step that runs, if one does: how often it was tried, and how far it says that it is."""
    for pending in described.raw_description.pending_activities:
        if seen is not None and pending.activity_type.name == seen.current:
            heard = pending.HasField("last_heartbeat_time")
            words = _words(described, pending.heartbeat_details)
            return Attempt(
                max(1, pending.attempt),
                pending.last_failure.message,
                "" if words == seen.current else words,  # it has nothing to say but that it lives
                pending.last_heartbeat_time.ToDatetime(UTC) if heard else None,
            )
    return None


def _words(described: WorkflowExecutionDescription, details: Payloads) -> str:
    """What an activity said with its heartbeat; nothing where it said something else than words."""
    try:
        (words,) = described.data_converter.payload_converter.from_payloads(details.payloads)
    except (ValueError, RuntimeError):
        return ""
    return words if isinstance(words, str) else ""


async def answer(run: Handle, update: str, word: Input, *, within: timedelta) -> None:
    """Send an update (`approve`, `decline`, `resolve`, `abort`, `confirm_node_down`).

    Raises `NotTaken` where the replacement refuses it, or has ended; `TimeoutError` where no worker has heard it in
    time: the next one may still take it.
    """
    seconds = within.total_seconds()
    try:
        # The server answers each call before long, and the SDK calls again without end: a limit of a call is none.
        async with asyncio.timeout(seconds):
            await run.execute_update(update, word)
    except WorkflowUpdateFailedError as error:
        raise NotTaken(str(error.cause), runs=True) from None
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        if (task := asyncio.current_task()) and task.cancelling():  # by our caller, not by the limit
            raise asyncio.CancelledError from error
        raise builtins.TimeoutError(f"no worker has heard it within {seconds:g} s") from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise NotTaken(f"{run.id} does not run: {error.message}", runs=False) from None


async def ending(run: Handle) -> Ending:
    """Wait for the end of a run."""
    try:
        result = await run.result()
    except WorkflowFailureError as error:
        return _unfinished(error.cause)
    return Ending(result.outcome, result.reason, result)


def _unfinished(cause: BaseException | None) -> Ending:
    """An end that is not a result; the contract says which error type stands for which outcome."""
    if isinstance(cause, CancelledError):
        return Ending(Outcome.CANCELLED, "stopped before the removal; everything is back")
    if isinstance(cause, TerminatedError | TimeoutError):
        return Ending(Outcome.INTERRUPTED, f"ended from outside: {cause.message or 'no reason was given'}")
    if not isinstance(cause, ApplicationError):
        return Ending(None, str(cause))
    result = _detail(cause)
    if result is not None:
        return Ending(result.outcome, cause.message, result)
    return Ending(None, cause.message, bad_input=cause.type == "InvalidInput")


def _detail(error: ApplicationError) -> ReplacementResult | None:
    try:
        return ReplacementResult.model_validate(error.details[0]) if error.details else None
    except ValidationError:
        return None
