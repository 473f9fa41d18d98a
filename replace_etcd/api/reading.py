"""Where a replacement stands, and lists of them.

Lists and audits come from the audit store alone: it keeps them for years, and the API's own note of a request puts a
run there before any worker has. How one run stands is Temporal's to say while it runs, or is remembered there; after
that the store's.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import replacements, search_attributes
from replace_etcd.api.problems import Problem, not_found, unavailable
from replace_etcd.api.services import Services
from replace_etcd.audit.store import AuditUnavailable, BadCursor
from replace_etcd.audit.views import Filters, Page, Story
from replace_etcd.models import Message
from replace_etcd.models.plan import Check
from replace_etcd.models.result import Outcome, Progress, ReplacementResult, Step

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEMPORAL_WITHIN_SECONDS = 5.0


def _in_utc(moment: datetime) -> datetime:
    """A time without a zone is UTC; one at the edge of the calendar is none that anything has started at."""
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("is out of the calendar's range") from None


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class Replacement(Message):
    """A replacement as it stands; `id` is its run."""

    id: str = Field(examples=["019abc2e-8b1f-7c52-9d6e-2f4a6c0d9e11"])
    workflow_id: str = Field(examples=["replace-etcd.user-cluster-1"])
    user_cluster: str = ""
    replica: str | None = None
    incident: str | None = None
    requested_by: str | None = None
    approved_by: str | None = None
    running: bool
    worker: bool | None = Field(
        default=None, description="while it runs: whether a worker answers; without one nothing moves"
    )
    phase: str | None = None
    outcome: Outcome | None = None
    reason: str = ""
    started_at: datetime
    finished_at: datetime | None = None
    current: str | None = None
    waiting_for: str | None = None
    choices: list[str] = []
    deadline: datetime | None = None
    steps: list[Step] = []
    verdicts: list[Check] = []
    result: ReplacementResult | None = None


@dataclass(frozen=True)
class Found:
    """A run that somebody means: what Temporal and the audit know of it, at least one of them something."""

    workflow_id: str
    run_id: str
    described: WorkflowExecutionDescription | None
    story: Story | None

    @property
    def runs(self) -> bool:
        """Whether it is under way, as far as Temporal can say."""
        return self.described is not None and self.described.status is WorkflowExecutionStatus.RUNNING


async def listed(services: Services, filters: Filters, limit: int, cursor: str | None) -> Page:
    """A page of the list."""
    try:
        return await services.audit.ask(lambda store: store.list(filters, limit=limit, cursor=cursor))
    except BadCursor as error:
        raise Problem(422, "bad-cursor", str(error)) from None
    except AuditUnavailable as error:
        raise unavailable(str(error)) from error


async def audited(services: Services, name: str) -> Story:
    """The whole story of a run, from the audit."""
    try:
        wanted = name if UUID.fullmatch(name) else replacements.workflow_id_of(name)
        story = await services.audit.ask(lambda store: store.show(store.find(wanted) or ""))
    except AuditUnavailable as error:
        raise unavailable(str(error)) from error
    if story is None:
        raise not_found(f"the audit knows no replacement {name}: list them at /v1/replacements")
    return story


async def find(services: Services, name: str) -> Found:
    """The run of that id; by a workflow id or a user cluster the newest one. 404 where nobody knows it.

    While Temporal does not answer, only a run whose end is in the audit is known to have ended.
    """
    down: list[str] = []
    story = await _story(services, name, down)
    described = await _described(services, name, story, down)
    if described is not None and (story is None or story.replacement.run_id != described.run_id):
        story = await _story(services, described.run_id, down)
    if described is not None:
        return Found(described.id, described.run_id, described, story)
    if story is not None and not (down and story.replacement.outcome is None):
        return Found(story.replacement.workflow_id, story.replacement.run_id, None, story)
    if down:
        raise unavailable("; ".join(dict.fromkeys(down)))
    raise not_found(f"there is no replacement {name}: list them at /v1/replacements")


async def _story(services: Services, name: str, down: list[str]) -> Story | None:
    try:
        return await audited(services, name)
    except Problem as problem:
        if problem.status != 404:
            down.append(problem.detail)
        return None


async def _described(
    services: Services, name: str, story: Story | None, down: list[str]
) -> WorkflowExecutionDescription | None:
    """As Temporal has it; a workflow of another type is none of ours to show."""
    by_run = bool(UUID.fullmatch(name))
    try:
        async with asyncio.timeout(TEMPORAL_WITHIN_SECONDS):
            if not by_run:
                workflow_id: str | None = replacements.workflow_id_of(name)
            elif story is not None:
                workflow_id = story.replacement.workflow_id
            else:
                workflow_id = await _workflow_of(services, name)
            if workflow_id is None:
                return None
            run = services.client.get_workflow_handle(workflow_id, run_id=name if by_run else None)
            described = await run.describe()
    except (RPCError, TimeoutError) as error:
        if not (isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND):
            down.append(f"Temporal does not answer ({error or 'in time'})")
        return None
    return described if described.workflow_type == replacements.WORKFLOW else None


async def _workflow_of(services: Services, run_id: str) -> str | None:
    """For a run that the audit has not heard of."""
    query = f"WorkflowType = '{replacements.WORKFLOW}' AND RunId = '{run_id}'"
    async for found in services.client.list_workflows(query, limit=1):
        return found.id
    return None


async def standing(services: Services, found: Found) -> Replacement:
    """How it stands: live while it runs, else how it ended."""
    if found.described is None:
        return _of_story(found)
    if found.runs:
        return await _of_a_run(services, found)
    return await _of_an_end(services, found)


def _of_story(found: Found) -> Replacement:
    """Temporal has forgotten it, or cannot be asked."""
    story = found.story
    assert story is not None  # noqa: S101 - `find` has one of both
    told = story.replacement.model_dump(exclude={"run_id", "steps", "dry_run"})
    return Replacement(
        **told | {"id": found.run_id},
        running=False,
        steps=[Step.model_validate(step.model_dump()) for step in story.steps],
        verdicts=story.plan.checks if story.plan else [],
        result=story.result,
    )


async def _of_a_run(services: Services, found: Found) -> Replacement:
    run = replacements.handle(services.client, found.workflow_id, found.run_id)
    described = found.described
    works = described is not None and await replacements.has_worker(services.client, described.task_queue)
    seen = await replacements.progress(run) if works else None
    replacement = _outline(found).model_copy(update={"worker": seen is not None})
    return replacement if seen is None else replacement.model_copy(update=_live(seen))


def _live(seen: Progress) -> dict[str, object]:
    as_it_is = ("outcome", "steps", "current", "waiting_for", "choices", "deadline", "reason", "verdicts")
    return {name: getattr(seen, name) for name in as_it_is} | {"phase": seen.phase.value}


async def _of_an_end(services: Services, found: Found) -> Replacement:
    ended = found.story is not None and found.story.replacement.outcome is not None
    if ended:
        outline = _outline(found)
        return _of_story(found).model_copy(update={"phase": outline.phase})
    ending = await replacements.ending(replacements.handle(services.client, found.workflow_id, found.run_id))
    result = ending.result
    update: dict[str, object] = {"outcome": ending.outcome, "reason": ending.reason, "result": result}
    if result is not None:
        update |= {"steps": result.steps, "verdicts": result.plan.checks if result.plan else []}
    return _outline(found).model_copy(update=update)


def _outline(found: Found) -> Replacement:
    """What Temporal's own page of it says."""
    described = found.described
    assert described is not None  # noqa: S101 - the caller has looked
    known = described.typed_search_attributes
    view = found.story.replacement if found.story else None
    return Replacement(
        id=found.run_id,
        workflow_id=found.workflow_id,
        user_cluster=known.get(search_attributes.USER_CLUSTER) or (view.user_cluster if view else ""),
        replica=known.get(search_attributes.FAILED_REPLICA) or (view.replica if view else None),
        incident=(view.incident if view else None)
        or known.get(search_attributes.INCIDENT),  # may be cut there
        requested_by=known.get(search_attributes.REQUESTED_BY) or (view.requested_by if view else None),
        approved_by=view.approved_by if view else None,
        running=found.runs,
        phase=known.get(search_attributes.PHASE),
        started_at=described.start_time,
        finished_at=described.close_time,
    )
