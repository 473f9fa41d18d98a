"""Tells people who are not looking: each receiver that the worker's settings name is told once.

What has been taken stands in the heartbeat, so that a retry leaves out those who know. Addresses and keys stay in the
worker's settings, out of every history.
"""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.step import Toolbox, step, tell
from replace_etcd.models.orders import Done, NoticeOrder

TAKEN = "told: "


class NotificationActivities:
    """Steps that act on people."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def send_notification(self, order: NoticeOrder) -> Done:
        """Send the notice to every receiver; fails, to be tried again, where one does not take it."""
        if self._tools.messenger is None:
            return Done(note="nobody is to be told: no receiver is set up")
        known = _taken_before()
        if known:  # the heartbeats of this attempt must not forget them
            tell(TAKEN + ", ".join(known))
        delivery = await self._tools.messenger.send(order.notice, but=known)
        taken = [*known, *delivery.taken]
        tell(TAKEN + ", ".join(taken))
        if delivery.refused:
            raise ApplicationError("; ".join(f"{name}: {why}" for name, why in delivery.refused.items()))
        return Done(note=f"told: {', '.join(taken) or 'nobody'}")


def _taken_before() -> list[str]:
    """What an earlier attempt of this activity has said in its last heartbeat."""
    for words in activity.info().heartbeat_details:
        if isinstance(words, str) and words.startswith(TAKEN):
            return [name for name in words.removeprefix(TAKEN).split(", ") if name]
    return []
