"""What `doctor` does: what can be seen of Temporal from here, then what the worker sees, which alone counts."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError
from rich.console import Console
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import TimeoutError
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import replacements, search_attributes, temporal
from replace_etcd.cli import runs, showing
from replace_etcd.cli.commands import print_json
from replace_etcd.cli.exits import CliError, Exit, complain
from replace_etcd.models.diagnosis import ID_PREFIX, WORKFLOW_TYPE, Diagnosis, DiagnosisRequest
from replace_etcd.models.plan import Check, Verdict
from replace_etcd.narration import invalid_input

EXAMINED_WITHIN = timedelta(seconds=75)


async def examine(user_cluster: str | None, *, as_json: bool) -> int:
    """Look, print, and say by the exit code whether anything refuses."""
    try:
        request = DiagnosisRequest(user_cluster=user_cluster)
    except ValidationError as error:
        raise CliError(invalid_input(error, DiagnosisRequest)) from None
    task_queue = runs.task_queue()
    async with runs.connected() as client:
        checks = [
            await _temporal(client),
            await _search_attributes(client),
            await _schedule(client),
            worker := await _worker(client, task_queue),
        ]
        works = worker.verdict is not Verdict.REFUSE
        seen = await _diagnosis(client, request, task_queue) if works else None
    checks += seen.checks if seen else []
    if as_json:
        print_json(_as_json(client, task_queue, seen, checks))
    else:
        _print(seen, checks)
    if not works:
        complain(replacements.nobody_works(task_queue))
        return Exit.FAILED
    return Exit.REFUSED if any(check.verdict is Verdict.REFUSE for check in checks) else Exit.OK


async def _temporal(client: Client) -> Check:
    info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    where = f"{client.service_client.config.target_host}, namespace {client.namespace}"
    return Check(name="Temporal", verdict=Verdict.OK, evidence=f"server {info.server_version} at {where}")


async def _search_attributes(client: Client) -> Check:
    name, names = "search attributes", [key.name for key in search_attributes.ALL]
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        return Check(name=name, verdict=Verdict.WARN, evidence=f"cannot be listed: {error.message}")
    missing = [each for each in names if each not in known.custom_attributes]
    if not missing:
        return Check(name=name, verdict=Verdict.OK, evidence=f"all {len(names)} are registered")
    return Check(
        name=name,
        verdict=Verdict.REFUSE,
        evidence=f"missing: {', '.join(missing)}",
        way_out="a worker registers them when it starts, where it may; else: temporal operator"
        f" search-attribute create --namespace {client.namespace}"
        + "".join(f" --name {each} --type Keyword" for each in missing),
    )


async def _schedule(client: Client) -> Check:
    name, handle = "janitor", client.get_schedule_handle(temporal.SCHEDULE)
    try:
        described = await handle.describe()
    except RPCError as error:
        why = "there is none" if error.status is RPCStatusCode.NOT_FOUND else error.message
        way_out = "a worker creates it when it starts, unless REPLACE_ETCD_JANITOR_INTERVAL_SECONDS is 0"
        return Check(
            name=name, verdict=Verdict.WARN, evidence=f"Schedule {temporal.SCHEDULE}: {why}", way_out=way_out
        )
    if described.schedule.state.paused:
        return Check(
            name=name,
            verdict=Verdict.WARN,
            evidence=f"Schedule {temporal.SCHEDULE} is paused: {described.schedule.state.note or '-'}",
            way_out=f"temporal schedule toggle --unpause --schedule-id {temporal.SCHEDULE}",
        )
    ran = described.info.recent_actions
    last = f", ran last at {ran[-1].started_at:%H:%M:%S} UTC" if ran else ", has not run yet"
    return Check(name=name, verdict=Verdict.OK, evidence=f"Schedule {temporal.SCHEDULE}{last}")


async def _worker(client: Client, task_queue: str) -> Check:
    if await replacements.has_worker(client, task_queue):
        return Check(name="worker", verdict=Verdict.OK, evidence=f"polls the task queue {task_queue}")
    return Check(
        name="worker",
        verdict=Verdict.REFUSE,
        evidence=f"nobody polls the task queue {task_queue}",
        way_out="start one: python worker.py; REPLACE_ETCD_TASK_QUEUE names another queue",
    )


async def _diagnosis(client: Client, request: DiagnosisRequest, task_queue: str) -> Diagnosis:
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    about = f" and {request.user_cluster}" if request.user_cluster else ""
    try:
        seen: Diagnosis = await client.execute_workflow(
            WORKFLOW_TYPE,
            request.model_dump(mode="json", exclude_none=True),
            id=f"{ID_PREFIX}{moment}-{secrets.token_hex(2)}",
            task_queue=task_queue,
            result_type=Diagnosis,
            static_summary=f"examine the worker{about}",
            execution_timeout=EXAMINED_WITHIN,  # nothing has to be put back
        )
    except WorkflowFailureError as failure:
        if isinstance(failure.cause, TimeoutError):
            raise CliError(
                f"a worker polled {task_queue} lately, but took no task in time", Exit.FAILED
            ) from None
        why = (
            failure.cause.__cause__ or failure.cause
        )  # an activity's failure says no more than that it failed
        raise CliError(f"the worker could not examine itself: {why}", Exit.FAILED) from None
    return seen


def _as_json(
    client: Client, task_queue: str, seen: Diagnosis | None, checks: list[Check]
) -> dict[str, object]:
    return {
        "address": client.service_client.config.target_host,
        "namespace": client.namespace,
        "task_queue": task_queue,
        "worker": {"host": seen.host, "version": seen.version} if seen else None,
        "checks": [check.model_dump(mode="json") for check in checks],
    }


def _print(seen: Diagnosis | None, checks: list[Check]) -> None:
    console = Console(highlight=False)
    showing.print_checks(console, checks)
    if seen:
        console.print(f"as seen by the worker {seen.version} on {seen.host}", markup=False)
