"""What `start` and `status` do; apart from their options, since this part loads the client of Temporal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import replacements, search_attributes
from replace_etcd.cli import requests, runs, showing
from replace_etcd.cli.exits import CliError, Exit, complain
from replace_etcd.cli.follow import follow
from replace_etcd.cli.views import Narrator, ProgressView

LISTED = 50


async def start(given: str | None, options: Mapping[str, Any], *, wait: bool, as_json: bool) -> int:
    """Start a replacement; with `wait`, follow it and return the exit code of its outcome."""
    request = requests.build_request(requests.read_input(given), options)
    task_queue = runs.task_queue()
    async with runs.connected() as client:
        run = await runs.start(client, request, task_queue)
        if not await replacements.has_worker(client, task_queue):
            complain(replacements.nobody_works(task_queue))
        if not wait:
            _started(run, as_json=as_json)
            return Exit.OK
        return await _until_the_end(run, as_json=as_json)


def _started(run: replacements.Handle, *, as_json: bool) -> None:
    if as_json:
        _print_json({"workflow_id": run.id, "run_id": run.run_id})
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"started {run.id} (run {run.run_id})", markup=False)
    console.print(f"follow it with: replace-etcd status {run.id}", markup=False)


async def _until_the_end(run: replacements.Handle, *, as_json: bool) -> int:
    console = Console(stderr=as_json, highlight=False)
    narrator = Narrator(console)
    narrator.say(f"started {run.id} (run {run.run_id})")
    with ProgressView(narrator) as view:
        ending = await follow(run, view)
    if as_json:
        _print_json(showing.ended(run.id, run.run_id, ending))
    else:
        showing.print_ending(console, ending)
    if ending.outcome is None:
        complain(ending.reason)
    return runs.exit_code(ending)


async def status(name: str | None, *, as_json: bool) -> int:
    """Show one replacement, or list all of them."""
    async with runs.connected() as client:
        if name is None:
            return await _list(client, as_json=as_json)
        described = await _described(client, replacements.workflow_id_of(name))
        run = replacements.handle(client, described.id, described.run_id)
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return _show_closed(described, await replacements.ending(run), as_json=as_json)
        return await _show_running(client, described, run, as_json=as_json)


async def _described(client: Client, workflow_id: str) -> WorkflowExecutionDescription:
    try:
        return await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise CliError(
            f"Temporal knows no workflow {workflow_id} in its namespace {client.namespace}; list them with:"
            " replace-etcd status"
        ) from None


def _show_closed(
    described: WorkflowExecutionDescription, ending: replacements.Ending, *, as_json: bool
) -> int:
    if as_json:
        _print_json(showing.ended(described.id, described.run_id, ending))
    else:
        console = Console(highlight=False)
        showing.print_head(console, described)
        showing.print_steps(console, ending.result.steps if ending.result else [])
        showing.print_ending(console, ending)
    return Exit.OK


async def _show_running(
    client: Client, described: WorkflowExecutionDescription, run: replacements.Handle, *, as_json: bool
) -> int:
    worked_on = await replacements.has_worker(client, described.task_queue)
    seen = await replacements.progress(run) if worked_on else None
    phase = described.typed_search_attributes.get(search_attributes.PHASE)
    if not worked_on:
        complain(replacements.nobody_works(described.task_queue))
    if as_json:
        _print_json(showing.going_on(described, seen, phase, worked_on=worked_on))
        return Exit.OK
    console = Console(highlight=False)
    showing.print_head(console, described)
    if seen is None:
        console.print(f"phase: {phase or 'not begun'}; the steps are known to a worker only", markup=False)
        return Exit.OK
    showing.print_progress(console, seen, replacements.attempt(described, seen))
    return Exit.OK


async def _list(client: Client, *, as_json: bool) -> int:
    found = [
        item
        async for item in client.list_workflows(f"WorkflowType = '{replacements.WORKFLOW}'", limit=LISTED)
    ]
    if as_json:
        _print_json([showing.listed(item) for item in found])
    else:
        showing.print_list(Console(highlight=False), found)
    return Exit.OK


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))  # noqa: T201 - for programs: no colours, no wrapping
