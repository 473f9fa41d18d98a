"""The one thing that a run asks of its own Temporal: to be ended as cancelled.

A workflow may not cancel itself (the server answers "not found"), and one that was stopped by the update `abort`
would otherwise be called failed.
"""

from activities.step import Toolbox, step
from replace_etcd.models.orders import Done, RunQuestion


class RunActivities:
    """Steps that act on the run itself."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def request_cancellation(self, question: RunQuestion) -> Done:
        """Ask for a cancel of this run; a second request of the same changes nothing."""
        await self._tools.runs.cancel(question.workflow_id, question.run_id)
        return Done()
