"""The audit: events are appended beside the steps of a replacement, never in their way.

Idempotent by run and key of each event. A store that cannot be used is an error that is tried again; the workflow
keeps what was not delivered.
"""

from activities.step import Toolbox, step
from replace_etcd.models.orders import AuditOrder, Done


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
