"""What `plan`, `start`, `watch` and `status` do; apart from their options, since this part loads Temporal's client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus

from replace_etcd import answers, replacements, search_attributes
from replace_etcd.cli import requests, runs, showing
from replace_etcd.cli.exits import Exit, complain
from replace_etcd.cli.follow import follow
from replace_etcd.cli.views import Narrator, ProgressView


async def plan(given: str | None, options: Mapping[str, Any], *, as_json: bool) -> int:
    """Have a plan made, and print it."""
    request = requests.build_request(requests.read_input(given), {**options, "dry_run": True})
    task_queue = runs.task_queue()
    async with runs.connected() as client:
        run = await runs.start(client, request, task_queue)
        await _say_if_nobody_works(client, task_queue)
        ending = await replacements.ending(run)
    if as_json:
        print_json(showing.ended(run.id, run.run_id, ending))
    else:
        showing.print_ending(Console(highlight=False), ending)
    return _code(ending)


async def start(given: str | None, options: Mapping[str, Any], *, watch: bool, as_json: bool) -> int:
    """Start a replacement; with `watch`, follow it and return the exit code of its outcome."""
    request = requests.build_request(requests.read_input(given), options)
    task_queue = runs.task_queue()
    async with runs.connected() as client:
        run = await runs.start(client, request, task_queue)
        await _say_if_nobody_works(client, task_queue)
        if watch:
            narrator = Narrator(Console(stderr=as_json, highlight=False))
            narrator.say(f"started {run.id} (run {run.run_id})")
            return await _until_the_end(run, narrator, as_json=as_json)
    _started(run, as_json=as_json)
    return Exit.OK


async def watch(name: str, *, as_json: bool) -> int:
    """Follow one that was started before."""
    async with runs.connected() as client:
        described = await runs.described(client, replacements.workflow_id_of(name))
        run = replacements.handle(client, described.id, described.run_id)
        if described.status is WorkflowExecutionStatus.RUNNING:
            await _say_if_nobody_works(client, described.task_queue)
        narrator = Narrator(Console(stderr=as_json, highlight=False), began=described.start_time)
        return await _until_the_end(run, narrator, as_json=as_json)


async def status(name: str, *, as_json: bool) -> int:
    """Show one replacement as it is now."""
    async with runs.connected() as client:
        described = await runs.described(client, replacements.workflow_id_of(name))
        run = replacements.handle(client, described.id, described.run_id)
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return _show_closed(described, await replacements.ending(run), as_json=as_json)
        return await _show_running(client, described, run, as_json=as_json)


async def _say_if_nobody_works(client: Client, task_queue: str) -> bool:
    works = await replacements.has_worker(client, task_queue)
    if not works:
        complain(replacements.nobody_works(task_queue))
    return works


def _started(run: replacements.Handle, *, as_json: bool) -> None:
    if as_json:
        print_json({"workflow_id": run.id, "run_id": run.run_id})
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"started {run.id} (run {run.run_id})", markup=False)
    console.print(f"follow it with: replace-etcd watch {answers.user_cluster_of(run.id)}", markup=False)


async def _until_the_end(run: replacements.Handle, narrator: Narrator, *, as_json: bool) -> int:
    with ProgressView(narrator, workflow_id=run.id) as view:
        ending = await follow(run, view)
    if as_json:
        print_json(showing.ended(run.id, run.run_id, ending))
    else:
        showing.print_ending(narrator.console, ending)
    return _code(ending)


def _code(ending: replacements.Ending) -> int:
    if ending.outcome is None:
        complain(ending.reason)
    return runs.exit_code(ending)


def _show_closed(
    described: WorkflowExecutionDescription, ending: replacements.Ending, *, as_json: bool
) -> int:
    if as_json:
        print_json(showing.ended(described.id, described.run_id, ending))
        return Exit.OK
    console = Console(highlight=False)
    showing.print_head(console, described)
    showing.print_steps(console, ending.result.steps if ending.result else [])
    showing.print_ending(console, ending)
    if ending.outcome is None:
        complain(ending.reason)
    return Exit.OK


async def _show_running(
    client: Client, described: WorkflowExecutionDescription, run: replacements.Handle, *, as_json: bool
) -> int:
    worked_on = await _say_if_nobody_works(client, described.task_queue)
    seen = await replacements.progress(run) if worked_on else None
    attempt = replacements.attempt(described, seen)
    phase = described.typed_search_attributes.get(search_attributes.PHASE)
    if as_json:
        print_json(showing.going_on(described, seen, phase, attempt, worked_on=worked_on))
        return Exit.OK
    console = Console(highlight=False)
    showing.print_head(console, described)
    if seen is None:
        console.print(f"phase: {phase or 'not begun'}; the steps are known to a worker only", markup=False)
        return Exit.OK
    showing.print_progress(console, described.id, seen, attempt)
    return Exit.OK


def print_json(value: object) -> None:
    """For programs: no colours, no wrapping."""
    print(json.dumps(value, indent=2))  # noqa: T201
