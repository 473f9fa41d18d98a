"""Handing events to the audit and notices to people, without ever being in the way of a replacement."""

import asyncio
from collections.abc import Sequence

from temporalio import workflow
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

from workflows import options
from workflows.saga import begin

with workflow.unsafe.imports_passed_through():
    from activities.audit_log import AuditActivities
    from activities.notifications import NotificationActivities
    from replace_etcd.audit.events import AuditEvent
    from replace_etcd.models.notice import Notice
    from replace_etcd.models.orders import AuditOrder, NoticeOrder, Undelivered

DELIVERY = "DeliverAudit"
ID_PREFIX = "deliver-audit."
# A payload may have 2 MB; a run that was held often says more than that.
LARGEST_BATCH = 400_000


async def hand_over(events: Sequence[AuditEvent], notices: Sequence[Notice]) -> None:
    """Deliver, but not for long: what does not get through is left to a run of its own, so that this one may end."""
    parts = [Undelivered(events=batch) for batch in batches(events)]
    parts += [Undelivered(notices=[notice]) for notice in notices]
    delivered = await asyncio.gather(*(deliver(part, options.AT_THE_END) for part in parts))
    for number, part in enumerate(parts):
        if not delivered[number]:
            await _leave_to_another_run(part, number)


async def deliver(part: Undelivered, patience: options.Patience) -> bool:
    """Whether it got through."""
    try:
        if part.events:
            order = AuditOrder(events=part.events)
            summary = f"{len(part.events)} events"
            await begin(AuditActivities.append_audit_events, order, summary, patience, options.UNTIL_LATE)
        for notice in part.notices:
            order_to_tell = NoticeOrder(notice=notice)
            summary = notice.event.value
            await begin(
                NotificationActivities.send_notification, order_to_tell, summary, patience, options.UNTIL_LATE
            )
    except ActivityError:
        return False
    return True


def batches(events: Sequence[AuditEvent]) -> list[list[AuditEvent]]:
    """As many as one payload may carry, in their order."""
    found: list[list[AuditEvent]] = []
    room = 0
    for event in events:
        size = len(event.model_dump_json())
        if not found or size > room:
            found.append([])
            room = LARGEST_BATCH
        found[-1].append(event)
        room -= size
    return found


async def _leave_to_another_run(part: Undelivered, number: int) -> None:
    try:
        await workflow.start_child_workflow(
            DELIVERY,
            part,
            id=f"{ID_PREFIX}{workflow.info().run_id}.{number}",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=f"what {workflow.info().workflow_id} could not deliver",
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.warning("what could not be delivered is being delivered already")


@workflow.defn(name=DELIVERY)
class DeliverAudit:
    """Delivers what a run that has ended could not deliver itself: the store, or a receiver, was out of reach."""

    @workflow.run
    async def run(self, undelivered: Undelivered) -> None:
        """Try until it gets through."""
        await deliver(undelivered, options.BY_A_RUN_OF_ITS_OWN)
