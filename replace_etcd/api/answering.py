"""What people tell a replacement that runs: approve, decline, resolve, abort, confirm that a node is down.

Who says so is who the token is. An answer that is not taken leaves nothing in Temporal, so the audit keeps it.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from pydantic import Field

from replace_etcd import replacements, search_attributes
from replace_etcd.api import reading
from replace_etcd.api.gate import Caller
from replace_etcd.api.problems import Problem, unavailable
from replace_etcd.api.reading import Found
from replace_etcd.api.services import Services, temporal_answers
from replace_etcd.audit.store import AuditUnavailable
from replace_etcd.models import Input, Message
from replace_etcd.models.request import Approval, Choice, FreeText, Resolution, Who, Word

OVERWRITTEN = "the token's name stands here, whatever is sent"


class Verdict(Input):
    """The body of approve and decline."""

    comment: FreeText = ""
    approver: Who | None = Field(default=None, description=OVERWRITTEN)


class Reason(Input):
    """The body of abort and confirm-node-down."""

    reason: FreeText = ""
    by: Who | None = Field(default=None, description=OVERWRITTEN)


class Decision(Reason):
    """The body of resolve."""

    choice: Choice


class Answered(Message):
    """An answer that was taken."""

    replacement: str
    answer: str = Field(examples=["approve"])
    by: str


async def decide(services: Services, name: str, caller: Caller, *, update: str, verdict: Verdict) -> Answered:
    """Approve or decline; whoever has asked for a replacement does not approve it as well."""
    found = await reading.find(services, name)
    word = Approval(approver=caller.name, comment=verdict.comment)
    if update == "approve" and _asked_for(found) == caller.name:
        why = f"{caller.name} has started this replacement, so somebody else has to approve it"
        await _record(services, found, update, word, why)
        raise Problem(403, "four-eyes", why)
    return await _tell(services, found, caller, update, word)


async def tell(services: Services, name: str, caller: Caller, update: str, word: Reason) -> Answered:
    """Abort, resolve, or confirm that the node is down."""
    found = await reading.find(services, name)
    said: Input = Word(by=caller.name, reason=word.reason)
    if isinstance(word, Decision):
        said = Resolution(choice=word.choice, by=caller.name, reason=word.reason)
    return await _tell(services, found, caller, update, said)


def _asked_for(found: Found) -> str | None:
    """Who has asked for it: as the run itself says, else as the audit has it."""
    by = (
        found.described.typed_search_attributes.get(search_attributes.REQUESTED_BY)
        if found.described
        else None
    )
    return by or (found.story.replacement.requested_by if found.story else None)


async def _tell(services: Services, found: Found, caller: Caller, update: str, word: Input) -> Answered:
    run = replacements.handle(services.client, found.workflow_id, found.run_id)
    within = timedelta(seconds=services.settings.answer_seconds)
    try:
        async with temporal_answers():
            await replacements.answer(run, update, word, within=within)
    except replacements.NotTaken as error:
        await _record(services, found, update, word, str(error))
        raise Problem(409, "not-taken", str(error), replacement=found.run_id) from None
    except TimeoutError:
        raise unavailable(
            "no worker has heard it in time; the next one may still take it: look at the replacement first"
        ) from None
    return Answered(replacement=found.run_id, answer=update, by=caller.name)


async def _record(services: Services, found: Found, update: str, word: Input, why: str) -> None:
    said = word.model_dump(mode="json")
    by = str(said.get("by") or said.get("approver"))
    try:
        await services.audit.ask(
            lambda store: store.record_rejected_update(
                workflow_id=found.workflow_id, run_id=found.run_id, update=update, by=by, why=why, said=said
            )
        )
    except AuditUnavailable as error:
        structlog.get_logger().warning(
            "an answer that was not taken is not in the audit", update=update, by=by, reason=str(error)
        )
