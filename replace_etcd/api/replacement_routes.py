"""`/v1/replacements`: start, list, look, answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Header, Path, Query, Response
from pydantic import Field, StringConstraints

from replace_etcd.api import answering, reading, starting
from replace_etcd.api.answering import Answered, Decision, Reason, Verdict
from replace_etcd.api.calling import BEARER_TOKEN, Approver, Operator, Reader, Starter
from replace_etcd.api.problems import documented
from replace_etcd.api.reading import Moment, Replacement
from replace_etcd.api.services import Given, temporal_answers
from replace_etcd.audit.views import Filters, Page, Story
from replace_etcd.models import Input, Message
from replace_etcd.models.request import FreeText, Namespace, ReplacementRequest, ReplicaName
from replace_etcd.models.result import Outcome

EVERYWHERE = documented(400, 401, 403, 408, 413, 415, 422, 429, 503)
router = APIRouter(
    prefix="/v1/replacements", tags=["replacements"], dependencies=BEARER_TOKEN, responses=EVERYWHERE
)

Id = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,254}$",
        description="the id that a start gives (a run); a user cluster, or a workflow id, means its newest run",
        examples=["019abc2e-8b1f-7c52-9d6e-2f4a6c0d9e11", "user-cluster-1"],
    ),
]
Cursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,100}$",
        description="the same key again finds the run that the first request has started, also when it has ended; "
        "without it the incident is the key: of each user cluster one plan and one replacement",
        examples=["INC-77-first-try"],
    ),
]
START_EXAMPLES = {
    "a plan": {"value": {"user_cluster": "user-cluster-1", "dry_run": True}},
    "a replacement": {
        "value": {
            "user_cluster": "user-cluster-1",
            "failed_replica": "kube-etcd-1",
            "incident": "INC-77",
            "reason": "its disk is gone",
        }
    },
    "one that waits for approval": {
        "value": {"user_cluster": "user-cluster-1", "incident": "INC-77", "require_approval": True}
    },
}


class Listing(Input):
    """Which replacements are asked for."""

    user_cluster: Namespace | None = None
    replica: ReplicaName | None = None
    incident: FreeText | None = None
    outcome: Outcome | None = None
    since: Moment | None = Field(default=None, description="started at this time or later")
    until: Moment | None = Field(default=None, description="started before this time")
    plans: bool = Field(default=False, description="plans (dry runs) too")
    limit: int = Field(default=50, ge=1, le=500)
    cursor: Cursor | None = Field(default=None, description="next_cursor of the page before")


class Begun(Message):
    """A replacement that was started, now or by an earlier request of the same key."""

    id: str = Field(examples=["019abc2e-8b1f-7c52-9d6e-2f4a6c0d9e11"])
    workflow_id: str = Field(examples=["replace-etcd.user-cluster-1"])
    repeated: bool
    warnings: list[str] = []


@router.post(
    "",
    status_code=202,
    summary="Start a replacement, or make a plan (dry_run)",
    responses={
        200: {"model": Begun, "description": "an earlier request of the same key has started it"},
        **documented(409),
    },
)
async def start(
    services: Given,
    caller: Starter,
    wanted: Annotated[ReplacementRequest, Body(openapi_examples=START_EXAMPLES)],
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Begun:
    """`requested_by` is the token's name, whatever the body says; Location is where to follow it."""
    key = starting.key_of(wanted, caller, idempotency_key)
    begun = await starting.start(services, wanted, caller, key)
    warnings = list(begun.warnings)
    if not begun.repeated:
        warnings += await starting.obstacles(services)
    response.headers["Location"] = services.location(begun.run_id)
    if begun.repeated:
        response.status_code = 200
    return Begun(id=begun.run_id, workflow_id=begun.workflow_id, repeated=begun.repeated, warnings=warnings)


@router.get("", summary="List replacements, the newest first")
async def listing(services: Given, _caller: Reader, wanted: Annotated[Listing, Query()]) -> Page:
    """From the audit store; one without `outcome` runs, or its end is not recorded yet."""
    filters = Filters(**wanted.model_dump(exclude={"limit", "cursor"}))
    return await reading.listed(services, filters, wanted.limit, wanted.cursor)


@router.get("/{id}", summary="How a replacement stands", responses=documented(404))
async def look(services: Given, _caller: Reader, id: Id) -> Replacement:
    """Live while it runs; afterwards as it ended."""
    found = await reading.find(services, id)
    async with temporal_answers():
        return await reading.standing(services, found)


@router.get("/{id}/audit", summary="The whole story of a replacement", responses=documented(404))
async def audit(services: Given, _caller: Reader, id: Id) -> Story:
    """Who asked and approved, the plan, each step with its evidence, every event."""
    return await reading.audited(services, id)


@router.post("/{id}/approve", summary="Let one that waits for approval go on", responses=documented(404, 409))
async def approve(services: Given, caller: Approver, id: Id, verdict: Verdict | None = None) -> Answered:
    """Not by whoever has asked for it: 403."""
    return await answering.decide(services, id, caller, update="approve", verdict=verdict or Verdict())


@router.post("/{id}/decline", summary="Refuse one that waits for approval", responses=documented(404, 409))
async def decline(services: Given, caller: Approver, id: Id, verdict: Verdict | None = None) -> Answered:
    """Nothing is changed."""
    return await answering.decide(services, id, caller, update="decline", verdict=verdict or Verdict())


@router.post(
    "/{id}/resolve", summary="Say what is to become of one that holds", responses=documented(404, 409)
)
async def resolve(services: Given, caller: Operator, id: Id, decision: Decision) -> Answered:
    """`retry` looks again and goes on from there; `abandon` leaves it safe, for a resume."""
    return await answering.tell(services, id, caller, "resolve", decision)


@router.post("/{id}/abort", summary="Stop one", responses=documented(404, 409))
async def abort(services: Given, caller: Operator, id: Id, word: Reason | None = None) -> Answered:
    """Before the removal everything goes back; after it the replacement is finished."""
    return await answering.tell(services, id, caller, "abort", word or Reason())


@router.post(
    "/{id}/confirm-node-down", summary="Stand for it that the machine is off", responses=documented(404, 409)
)
async def confirm_node_down(
    services: Given, caller: Approver, id: Id, word: Reason | None = None
) -> Answered:
    """Only where it asks for it; its pod is then deleted by force, and starts on another node."""
    return await answering.tell(services, id, caller, "confirm_node_down", word or Reason())
