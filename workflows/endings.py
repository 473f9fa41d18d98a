"""How a replacement that cannot simply go on ends, or waits: rolled back, held, left incomplete.

Before the removal everything goes back. After it there is no way back that is better than going on: what is safe
is put back, the rest stays, and people are asked (docs/contract.md, Rules of the saga, 2 to 4).
"""

from typing import NoReturn

from temporalio import workflow

from workflows.conversation import HELD, NODE_DOWN, Conversation
from workflows.saga import StepFailed, Stopped, nothing_begun_is_forgotten
from workflows.ways_back import undo_what_was_begun

with workflow.unsafe.imports_passed_through():
    from activities.dead_node import DeadNodeActivities as DeadNode
    from activities.etcd_members import EtcdMemberActivities as Members
    from activities.replacement_record import RecordActivities as Record
    from activities.standing_edit import GuardActivities as Guard
    from replace_etcd.models.orders import (
        ClosingOrder,
        HoldOrder,
        NodeDownOrder,
        Order,
        Recalled,
    )
    from replace_etcd.models.phase import Phase
    from replace_etcd.models.plan import Pins
    from replace_etcd.models.request import Choice, Limits
    from replace_etcd.models.result import Outcome
    from replace_etcd.narration import dead_node, what_stays


class Endings(Conversation):
    """What becomes of a replacement whose steps do not go through."""

    _is_removed = (
        False  # whether the survivors have said so: what was sent and has no answer may be applied yet
    )

    _inherits = False  # whether an earlier run, of which this is the heir, may have sent a removal

    async def _there_is_a_way_back(self, error: Stopped | StepFailed) -> bool:
        """Not once a removal was sent, whoever has sent it, until it is lost for good."""
        saga = self._saga
        late = isinstance(error, StepFailed) and error.is_late
        if saga.past_the_point_of_no_return or late:
            return not saga.past_the_point_of_no_return
        if self._inherits:
            try:
                saga.past_the_point_of_no_return = await self._may_be_sent()
            except StepFailed as failed:
                self._fail(Outcome.LEFT_INCOMPLETE, f"{error}; {failed}; this run changes nothing any more")
        return not saga.past_the_point_of_no_return

    async def _may_be_sent(self) -> bool:
        settled = await self._saga.settle(Members.settle_removal, Order, "was a removal sent?")
        self._is_removed = settled.is_removed
        return settled.may_be_sent

    async def _roll_back(self, error: Stopped | StepFailed) -> NoReturn:
        """Everything back, in the order that is safe; then say what failed."""
        stopped = isinstance(error, Stopped) or self._saga.stop_requested
        if isinstance(error, StepFailed) and error.is_late:
            nothing_begun = error.name == "claim_replacement_record"
            outcome = Outcome.REFUSED if nothing_begun else Outcome.LEFT_INCOMPLETE
            self._fail(outcome, f"{error}; this run changes nothing any more")
        try:
            await self._put_everything_back(str(error))
        except StepFailed as late:
            self._fail(Outcome.LEFT_INCOMPLETE, f"{late}; this run changes nothing any more")
        if stopped:
            await self._cancelled(self._saga.how_much_is_back)
        self._fail(Outcome.ROLLED_BACK, f"{error}; {self._saga.how_much_is_back}")

    async def _put_everything_back(self, why: str) -> None:
        """As far as it is known; a run that was reset may have forgotten what it has begun, and asks first."""
        saga = self._saga
        try:
            await saga.roll_back()
        except StepFailed as error:
            if not error.forgets_what_was_begun:
                raise
            recalled = await saga.compensate(
                Members.recall_what_was_begun, Order, "what was begun before this run was reset?"
            )
            saga.pins = recalled.pins
            undo_what_was_begun(saga, self._backup)
            if not recalled.way_back:
                await self._rest(recalled, why)
            await saga.roll_back()

    async def _rest(self, recalled: Recalled, why: str) -> NoReturn:
        """The removal was sent before this run was reset: what is safe goes back, the rest stays, written down."""
        self._saga.past_the_point_of_no_return = True
        self._saga.enter(recalled.furthest)
        reason = f"{why}; {what_stays(recalled.furthest, removed=recalled.is_removed)}"
        if more := await self._saga.rest_safely(removed=recalled.is_removed):
            reason = f"{reason}; {more}"
        await self._leave_incomplete(reason)

    async def _hold(self, error: Stopped | StepFailed, limits: Limits) -> None:
        """Rest safely and ask what to do; returns where somebody says `retry`."""
        reason = f"{error}; {what_stays(self._saga.phase, removed=self._is_removed)}"
        removed = self._is_removed
        if not nothing_begun_is_forgotten():
            removed = removed or self._saga.phase is not Phase.REMOVING
        if isinstance(error, StepFailed) and error.is_late:
            self._fail(Outcome.LEFT_INCOMPLETE, f"{error}; this run changes nothing any more")
        self._saga.enter(Phase.HELD)
        try:
            if more := await self._saga.rest_safely(removed=removed):
                reason = f"{reason}; {more}"
            await self._saga.compensate(Guard.note_hold, HoldOrder, "write down why it holds", reason=reason)
            guard = self._saga.start_guard(Guard.stand_guard, Order, "nobody may restart a survivor")
            await self._ask(
                HELD,
                ["resolve retry", "resolve abandon"],
                limits.hold,
                lambda: self._resolution is not None,
                why=reason,
            )
            await self._saga.end_guard(guard)
        except StepFailed as late:
            self._fail(Outcome.LEFT_INCOMPLETE, f"{error}; {late}; this run changes nothing any more")
        said, self._resolution = self._resolution, None
        if said is None or said.choice is Choice.ABANDON:
            by = f"abandoned by {said.by}: {said.reason or '-'}" if said else "nobody said `retry` in time"
            await self._leave_incomplete(f"{reason}; {by}")

    async def _leave_incomplete(self, reason: str) -> NoReturn:
        """Write down how things rest; whoever starts the replacement again resumes it."""
        try:
            await self._saga.compensate(
                Record.close_replacement_record,
                ClosingOrder,
                "write down why",
                outcome=Outcome.LEFT_INCOMPLETE,
                reason=reason,
            )
        except StepFailed as late:
            reason = f"{reason}; {late}; this run changes nothing any more"
        self._fail(Outcome.LEFT_INCOMPLETE, reason)

    async def _hold_for_node(self, pins: Pins, limits: Limits) -> None:
        """The node is not Ready: ask. Returns when somebody says that it is worth another look."""
        choices = ["resolve retry", "resolve abandon", "abort"]
        if pins.volume_can_move:
            choices.append("confirm_node_down")
        why = dead_node(pins)
        self._saga.enter(Phase.HELD)
        await self._saga.step(Guard.note_hold, HoldOrder, "write down why it holds", reason=why)
        await self._ask(
            NODE_DOWN,
            choices,
            limits.hold,
            lambda: self._resolution is not None or self._node_down is not None,
            why=why,
        )
        said, down = self._resolution, self._node_down
        self._resolution = self._node_down = None
        if down is not None:
            await self._saga.step(
                DeadNode.delete_pod_of_dead_node,
                NodeDownOrder,
                f"delete {pins.replica}: {down.by} says that {pins.node} is off",
                by=down.by,
                reason=down.reason,
            )
        elif said is None or said.choice is Choice.ABANDON:
            raise StepFailed("node", "NodeNotReady", f"{pins.node} is not Ready, and nobody said `retry`")
