"""The command line's way to Temporal: its errors become one sentence with an exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import replacements, temporal
from replace_etcd.cli.exits import OF_OUTCOME, CliError, Exit
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.settings import Settings


def task_queue() -> str:
    """The task queue that the worker's settings name."""
    return settings().task_queue


def settings() -> Settings:
    """The worker's settings, as the environment has them here."""
    try:
        return Settings()
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


async def start(client: Client, request: ReplacementRequest, task_queue: str) -> replacements.Handle:
    """Start it, unless one runs for this user cluster already."""
    try:
        return await replacements.start(client, request, task_queue)
    except replacements.AlreadyRuns as error:
        raise CliError(
            f"{error}; follow it with: replace-etcd watch {request.user_cluster}", Exit.REFUSED
        ) from None


async def described(client: Client, workflow_id: str) -> WorkflowExecutionDescription:
    """What Temporal knows of the newest run of an id."""
    try:
        return await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise CliError(
            f"Temporal knows no workflow {workflow_id} in its namespace {client.namespace}; list them with:"
            " replace-etcd list"
        ) from None


def exit_code(ending: replacements.Ending) -> int:
    """The code that docs/contract.md, Outcomes, gives to an end."""
    if ending.outcome is not None:
        return OF_OUTCOME[ending.outcome]
    return Exit.BAD_INPUT if ending.bad_input else Exit.FAILED
