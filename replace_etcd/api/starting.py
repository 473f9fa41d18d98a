"""Starts a replacement once for each key, whoever asks again, however often, and from however many API processes.

Temporal keeps a second run out while the first one runs; that a repeat finds the first one after its end as well is the
audit store's part. A key is claimed before the start and carried by the run in its memo: whoever takes over the claim
of a process that died in between, or that got no answer of Temporal, finds that run instead of starting another.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import replacements
from replace_etcd.api.gate import Caller
from replace_etcd.api.problems import Problem
from replace_etcd.api.services import Services, temporal_answers
from replace_etcd.audit.events import AuditEvent, EventKind
from replace_etcd.audit.store import AuditStore, AuditUnavailable, KeyConflict, Remembered
from replace_etcd.models.request import ReplacementRequest

MEMO = "request_key"
SOMEBODY_ELSES_START_SECONDS = 9.0
LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Key:
    """What makes two requests one: its text, whose it is, and what they ask for."""

    text: str
    owner: str
    digest: str


@dataclass(frozen=True)
class Started:
    """The run of a request; `repeated` where an earlier one has started it."""

    workflow_id: str
    run_id: str
    repeated: bool = False
    warnings: list[str] = field(default_factory=list)


class AlreadyRuns(Problem):
    """409: one of the user cluster runs, so nothing was started."""

    def __init__(self, services: Services, error: replacements.AlreadyRuns) -> None:
        super().__init__(
            409,
            "already-runs",
            f"{error}: follow it, or abort it",
            headers={"Location": services.location(error.run_id or error.workflow_id)},
            replacement=error.run_id,
        )


def key_of(request: ReplacementRequest, caller: Caller, given: str | None) -> Key | None:
    """The caller's own key, else the incident's, which is everybody's: one plan and one replacement for each."""
    digest = _digest(request)
    if given is not None:
        return Key(f"key/{caller.name}/{given}", caller.name, digest)
    if request.incident is None:
        return None
    kind = "plan" if request.dry_run else "replacement"
    incident = hashlib.sha256(request.incident.encode()).hexdigest()
    return Key(f"incident/{request.user_cluster}/{kind}/{incident}", "incident", digest)


def _digest(request: ReplacementRequest) -> str:
    """What is asked for, but not by whom: a colleague who repeats it asks for the same."""
    asked = {name: value for name, value in replacements.payload(request).items() if name != "requested_by"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


async def start(services: Services, request: ReplacementRequest, caller: Caller, key: Key | None) -> Started:
    """Start it, or find the run that the key has started; a start that is refused leaves the key unused."""
    asked = replacements.payload(request) | {"requested_by": caller.name}
    request = ReplacementRequest.model_validate(asked)
    try:
        started = await _once(services, request, key)
    except Problem:
        services.metrics.starts.labels("refused").inc()
        raise
    services.metrics.starts.labels("repeated" if started.repeated else "started").inc()
    if not started.repeated:
        await _note(services, request, caller, key, started)
    return started


async def obstacles(services: Services) -> list[str]:
    """Why what was started may not move; nothing that goes wrong here is the start's failure."""
    try:
        works = await replacements.has_worker(services.client, services.task_queue)
    except RPCError as error:
        return [f"nobody can say whether a worker polls the task queue: {error.message}"]
    return [] if works else [replacements.nobody_works(services.task_queue)]


async def _once(services: Services, request: ReplacementRequest, key: Key | None) -> Started:
    wanted = replacements.workflow_id(request)
    if key is None:
        return await _begin(services, request, wanted, None)
    try:
        claim = await _claim(services, key, wanted)
    except AuditUnavailable as error:
        # A store that cannot be reached never stops a repair: Temporal still keeps a second run out while one runs.
        began = await _begin(services, request, wanted, key)
        lost = f"{error}: this key is not kept, so a repeat after the end of the run would start another"
        return Started(began.workflow_id, began.run_id, began.repeated, [lost])
    if claim.run_id is not None:
        return Started(claim.workflow_id, claim.run_id, repeated=True)
    return await _begin_claimed(services, request, key, claim)


async def _claim(services: Services, key: Key, wanted: str) -> Remembered:
    """The claim, or the run that it has led to; while another process is at it, wait for that."""
    until = time.monotonic() + SOMEBODY_ELSES_START_SECONDS
    while True:
        try:
            found = await services.audit.ask(
                lambda store: store.claim(key.text, key.owner, key.digest, wanted)
            )
        except KeyConflict:
            raise Problem(
                422,
                "key-reused",
                "this Idempotency-Key, or the incident, was sent with something else before: repeat that request "
                "as it was, or send an Idempotency-Key of its own",
            ) from None
        if found.is_ours or found.run_id is not None:
            return found
        if time.monotonic() > until:
            raise Problem(
                409, "under-way", "a request with this key is under way", headers={"Retry-After": "5"}
            )
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _begin_claimed(
    services: Services, request: ReplacementRequest, key: Key, claim: Remembered
) -> Started:
    try:
        if claim.taken_over and (found := await _started_before(services, claim.workflow_id, key)):
            began = Started(claim.workflow_id, found, repeated=True)
        else:
            began = await _begin(services, request, claim.workflow_id, key)
    except AlreadyRuns:
        await _quietly(services, "a key stays claimed", lambda store: store.release(key.text))
        raise
    except BaseException:  # a cancel, too: what was sent may have been heard
        await _quietly(services, "a key stays claimed", lambda store: store.give_up(key.text))
        raise
    await _quietly(
        services,
        "a start is not remembered",
        lambda store: store.remember(key.text, key.owner, key.digest, began.workflow_id, began.run_id),
    )
    return began


async def _begin(services: Services, request: ReplacementRequest, wanted: str, key: Key | None) -> Started:
    """Start it under that workflow id, unless its newest run carries the key already."""
    async with temporal_answers():
        if key is not None and (found := await _carrying(services.client, wanted, key)):
            return Started(wanted, found, repeated=True)
        try:
            run = await replacements.start(
                services.client,
                request,
                services.task_queue,
                wanted_id=wanted,
                memo={MEMO: key.text} if key else None,
            )
        except replacements.AlreadyRuns as error:
            if key is not None and (found := await _carrying(services.client, wanted, key)):
                return Started(wanted, found, repeated=True)
            raise AlreadyRuns(services, error) from None
        return Started(wanted, run.run_id or "")


async def _carrying(client: Client, workflow_id: str, key: Key) -> str | None:
    """The newest run of an id, if this key has started it."""
    try:
        described = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return described.run_id if (await described.memo()).get(MEMO) == key.text else None


async def _started_before(services: Services, workflow_id: str, key: Key) -> str | None:
    """A run that this key has started and others have followed: the newest one is looked at before each start."""
    async with temporal_answers():
        async for run in services.client.list_workflows(f"WorkflowId = '{workflow_id}'"):
            if (await run.memo()).get(MEMO) == key.text:
                return run.run_id
    return None


async def _note(
    services: Services, request: ReplacementRequest, caller: Caller, key: Key | None, started: Started
) -> None:
    """Who asked, as far as a token proves it: in the list at once, also where no worker takes it up."""
    event = AuditEvent(
        run_id=started.run_id,
        workflow_id=started.workflow_id,
        key="requested",
        kind=EventKind.REQUESTED,
        at=datetime.now(UTC),
        user_cluster=request.user_cluster,
        replica=request.failed_replica,
        incident=request.incident,
        data={
            "by": caller.name,
            "key": key.text if key else None,
            "request": replacements.payload(request),
        },
    )
    await _quietly(services, "a request is not in the audit", lambda store: store.append([event]))


async def _quietly(services: Services, what: str, question: Callable[[AuditStore], object]) -> None:
    """A store that cannot be reached must not undo what has been started."""
    try:
        await services.audit.ask(question)
    except AuditUnavailable as error:
        structlog.get_logger().warning(what, reason=str(error))
