"""The audit: events are appended beside the steps of a replacement, never in their way.

Idempotent by run and key of each event. A store that cannot be used is an error that is tried again; the workflow
keeps what was not delivered.
"""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.step import Toolbox, step
from replace_etcd.audit.events import AuditEvent, EventKind
from replace_etcd.audit.log import AuditLog
from replace_etcd.audit.views import ReplacementView
from replace_etcd.models.orders import AuditOrder, Done
from replace_etcd.models.result import Outcome
from replace_etcd.runs import UntoldEnd

# A run that was ended tells it within seconds, if it can, and so does the one that puts back what it left.
QUIET_FOR = timedelta(seconds=60)
ANSWER_WITHIN = 5.0


class AuditActivities:
    """Steps that act on the audit's store."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def append_audit_events(self, order: AuditOrder) -> Done:
        """Append what is not there yet."""
        if self._tools.audit is None:
            return Done(note="no audit is kept: REPLACE_ETCD_AUDIT is empty")
        appended = await self._tools.audit.append(order.events)
        return Done(note=f"{appended} of {len(order.events)} events were new")


async def complete_audit(tools: Toolbox, recorded: Collection[str] = ()) -> None:
    """Record the end of runs that nobody else would tell of.

    Those that were ended from outside before they held a record, and those whose input no worker has taken: of them
    the audit knows where the API has noted the request. The end of a run of which there is, or was, a record is told by
    whoever puts back what it left.

    Never in the way of the janitor: what goes wrong here is tried again by its next sweep.
    """
    if tools.audit is None:
        return
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await _complete(tools, tools.audit, recorded)
    except Exception as error:
        activity.logger.warning(f"the audit could not be completed: {error}")


async def _complete(tools: Toolbox, audit: AuditLog, recorded: Collection[str]) -> None:
    for view in await audit.unfinished(datetime.now(UTC) - QUIET_FOR):
        if view.run_id in recorded:
            continue
        end = await tools.runs.untold_end(view.workflow_id, view.run_id)
        # The record goes before the audit is told: a restoration may be about to.
        if end is not None and not await tools.runs.is_restored(view.user_cluster, view.run_id):
            await audit.append([_end(view, end)])


def _end(view: ReplacementView, end: UntoldEnd) -> AuditEvent:
    kind = EventKind.INTERRUPTED if end.outcome is Outcome.INTERRUPTED else EventKind.FINISHED
    return AuditEvent(
        run_id=view.run_id,
        workflow_id=view.workflow_id,
        key=kind.value,
        kind=kind,
        at=datetime.now(UTC),
        user_cluster=view.user_cluster,
        replica=view.replica,
        incident=view.incident,
        outcome=end.outcome,
        data={"reason": end.reason, "by": "the janitor"},
    )
