"""`ReplaceEtcdReplica`: the vendor's runbook, the steps that it forgets, and what happens when one fails.

Read `_make_room`, `_remove`, `_join` and `_restore` top to bottom: they are the steps in their order
(docs/contract.md, Order of the steps; docs/architecture.md has the table from the runbook to the activities).
"""

import asyncio
from typing import Any, NoReturn

from temporalio import workflow

from workflows.conversation import Conversation
from workflows.saga import StepFailed, Stopped

with workflow.unsafe.imports_passed_through():
    from activities.data_directory import DataDirectoryActivities as Data
    from activities.etcd_members import EtcdMemberActivities as Members
    from activities.node import NodeActivities as Node
    from activities.pod_disruption_budget import PodDisruptionBudgetActivities as Budget
    from activities.preflight import PreflightActivities
    from activities.replacement_record import RecordActivities as Record
    from activities.restart import RestartActivities as Restart
    from activities.stateful_set import StatefulSetActivities as Template
    from activities.utility_pod import UtilityPodActivities as Utility
    from activities.verification import VerificationActivities as Verification
    from replace_etcd.models.orders import (
        ClosingOrder,
        DrainOrder,
        NewMemberOrder,
        Order,
        PdbOrder,
        UtilityPodOrder,
        UtilityPodReady,
    )
    from replace_etcd.models.phase import Phase
    from replace_etcd.models.plan import Pins
    from replace_etcd.models.request import DrainMode, PdbMode, ReplacementRequest
    from replace_etcd.models.result import Outcome, ReplacementResult
    from replace_etcd.narration import refusal
    from replace_etcd.search_attributes import (
        FAILED_REPLICA,
    )


@workflow.defn(name="ReplaceEtcdReplica")
class ReplaceEtcdReplica(Conversation):
    """Replaces one failed etcd replica of one user cluster."""

    @workflow.run
    async def run(self, submitted: Any = None) -> ReplacementResult:
        """Run it; the argument is the JSON of a `ReplacementRequest`.

        It is decoded here and not by the SDK, so that wrong input fails the workflow at once, with the field
        and the way out, instead of failing its first task for ever.
        """
        request = self._begin(submitted)
        # A cancel must reach the saga as a wish, not as an exception in the middle of a step: what it is
        # worth depends on the phase. So the work runs in a task of its own, and this one only listens.
        work = asyncio.create_task(self._replace(request))
        while not work.done():
            try:
                await workflow.wait([work])
            except asyncio.CancelledError:
                self._saga.request_stop()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return work.result()

    async def _replace(self, request: ReplacementRequest) -> ReplacementResult:
        try:
            pins = await self._look(request)
            if request.dry_run:
                return self._end(Outcome.PLANNED)
            if request.require_approval:
                pins = await self._wait_for_approval(request, pins)
        except Stopped:
            self._cancelled("nothing was changed")
        except StepFailed as error:
            self._fail(Outcome.REFUSED, f"{error}; nothing was changed")
        try:
            utility = await self._make_room(request, pins)
            await self._remove(pins)
            new_id = await self._join(pins, utility)
            await self._restore(pins, new_id)
        except (Stopped, StepFailed) as error:
            if self._saga.past_the_point_of_no_return:
                await self._leave_incomplete(error)
            await self._roll_back(error)
        return self._end(Outcome.REPLACED)

    async def _look(self, request: ReplacementRequest) -> Pins:
        """Everything is looked at and pinned before anything changes."""
        replica = request.failed_replica or "the failed replica"
        looked = await self._saga.look(
            PreflightActivities.preflight, request, f"preflight for {replica} of {request.user_cluster}"
        )
        self._plan = looked.plan
        if looked.plan.pins is None:
            self._fail(Outcome.REFUSED, refusal(looked.plan))
        pins = looked.plan.pins
        self._saga.bind(pins, request.limits)
        workflow.upsert_search_attributes([FAILED_REPLICA.value_set(pins.replica)])
        return pins

    async def _wait_for_approval(self, request: ReplacementRequest, pins: Pins) -> Pins:
        """Wait for `approve`; it binds these pins, so everything is looked at once more after it."""
        self._deadline = workflow.now() + request.limits.approval
        self._saga.enter(Phase.WAITING_FOR_APPROVAL)
        try:
            await workflow.wait_condition(
                lambda: bool(self._approval or self._declined or self._saga.stop_requested),
                timeout=request.limits.approval,
                timeout_summary="approval",
            )
        except TimeoutError:
            self._fail(
                Outcome.DECLINED, f"nobody approved within {request.limits.approval}; nothing was changed"
            )
        if self._declined is not None:
            self._fail(
                Outcome.DECLINED, f"declined by {self._declined.approver}: {self._declined.comment or '-'}"
            )
        self._saga.enter(Phase.PREFLIGHT)
        again = await self._look(request)
        if again != pins:
            self._fail(
                Outcome.REFUSED, "the cluster has changed since the plan was approved; nothing was changed"
            )
        return again

    async def _make_room(self, request: ReplacementRequest, pins: Pins) -> UtilityPodReady:
        """Steps 1 to 4 and 6 of the runbook, each with its way back."""
        saga = self._saga
        saga.enter(Phase.PROTECTING)
        saga.undo_with(Record.delete_replacement_record, Order, "delete the record")
        await saga.step(Record.claim_replacement_record, Order, f"claim the record of {pins.user_cluster}")

        backed_up = await saga.step(Budget.back_up_pod_disruption_budget, Order, f"back up {pins.pdb}")
        self._backup = backup = backed_up.backup
        saga.undo_with(Budget.restore_pod_disruption_budget, PdbOrder, f"{pins.pdb} back", backup=backup)
        if request.pod_disruption_budget is PdbMode.DELETE:
            await saga.step(
                Budget.delete_pod_disruption_budget, PdbOrder, f"delete {pins.pdb}", backup=backup
            )

        saga.undo_with(Template.restore_flag_and_strategy, Order, "flag and update strategy back")
        saga.undo_with(Template.replace_pod_with_wrong_flag, Order, f"{pins.replica} with its old flag")
        await saga.step(Template.join_existing_on_delete, Order, "flag existing and OnDelete, in one patch")

        saga.enter(Phase.DRAINING)
        saga.undo_with(Node.uncordon_node, Order, f"uncordon {pins.node}")
        await saga.step(Node.cordon_node, Order, f"cordon {pins.node}")

        saga.undo_with(Utility.delete_utility_pod, Order, "delete the utility Pod")
        if not pins.claim_is_exclusive:
            utility = await self._mount(pins)
        await saga.step(Node.evict_failed_pod, Order, f"evict {pins.replica}, once seen to fail still")
        await saga.step(Budget.protect_survivors, PdbOrder, "a budget that admits no eviction", backup=backup)
        if pins.claim_is_exclusive:  # ReadWriteOncePod: one pod at a time
            utility = await self._mount(pins)
        if request.drain is DrainMode.NODE:
            await self._drain(request, pins, utility)
        await saga.step(Node.wait_until_failed_pod_is_gone, Order, f"wait until {pins.replica} has ended")
        return utility

    async def _mount(self, pins: Pins) -> UtilityPodReady:
        """Step 6 of the runbook, early: a wrong image, Secret or volume is found while there is a way back."""
        return await self._saga.step(Utility.create_utility_pod, Order, f"utility Pod with {pins.claim}")

    async def _drain(self, request: ReplacementRequest, pins: Pins, utility: UtilityPodReady) -> None:
        """Step 4 of the runbook: the rest of the node."""
        evicted = sum(pod.evict for pod in (self._plan.drained if self._plan else []))
        await self._saga.step(
            Node.drain_node,
            DrainOrder,
            f"drain {pins.node}: {evicted} pods to evict",
            delete_emptydir_data=request.delete_emptydir_data,
            force=request.force_drain,
            skip_uids=[utility.uid],
        )

    async def _remove(self, pins: Pins) -> None:
        """Step 5 of the runbook: the point of no return.

        A removal that failed is past it too, unless it is certain that no command was ever sent.
        """
        saga = self._saga
        try:
            removed = await saga.cross(
                Members.remove_member, Order, f"remove member {pins.member_id} ({pins.member_name})"
            )
        except StepFailed as error:
            if error.kind == "RemovalDidNotStart" or not await self._may_be_sent():
                saga.past_the_point_of_no_return = False
            raise
        if removed.alarm_stands:
            await saga.step(
                Members.disarm_alarm_of_removed_member, Order, f"disarm the alarm of {pins.member_id}"
            )

    async def _may_be_sent(self) -> bool:
        settled = await self._saga.compensate(Members.settle_removal, Order, "was a removal sent?")
        return settled.may_be_sent

    async def _join(self, pins: Pins, utility: UtilityPodReady) -> str:
        """Steps 7 to 9, and what the runbook forgets: add the member, and wait for it."""
        saga = self._saga
        saga.enter(Phase.CLEANING)
        await saga.step(
            Data.clean_data_directory,
            UtilityPodOrder,
            f"empty {pins.claim}",
            utility_uid=utility.uid,
            member_inode=utility.member_inode,
        )
        await saga.step(Utility.delete_utility_pod, Order, "delete the utility Pod")

        saga.enter(Phase.ADDING)
        kind = "learner" if pins.join_as_learner else "voter"
        added = await saga.step(Members.add_member, Order, f"add {pins.member_name} as a {kind}")
        await saga.step(Node.uncordon_node, Order, f"uncordon {pins.node}")

        saga.enter(Phase.REJOINING)
        self._new_member_id = new_id = added.member_id
        if pins.join_as_learner:
            await saga.step(
                Members.promote_member, NewMemberOrder, f"promote {new_id} when in sync", new_member_id=new_id
            )
        await saga.step(
            Members.wait_for_voter, NewMemberOrder, f"wait for voter {new_id}", new_member_id=new_id
        )
        return new_id

    async def _restore(self, pins: Pins, new_id: str) -> None:
        """Steps 10 and 11 of the runbook; the strategy comes back only when nothing is left to restart."""
        saga = self._saga
        saga.enter(Phase.RESTORING)
        await saga.step(Template.restore_initial_cluster_state, Order, f"{pins.flag.original} back")
        await saga.step(
            Restart.restart_replaced_pod, NewMemberOrder, f"restart {pins.replica}", new_member_id=new_id
        )
        await saga.step(Template.restore_update_strategy, Order, "update strategy back")
        await saga.step(
            Budget.restore_pod_disruption_budget, PdbOrder, f"{pins.pdb} back", backup=self._backup
        )

        saga.enter(Phase.VERIFYING)
        seen = await saga.step(
            Verification.verify_replacement, NewMemberOrder, "verify", new_member_id=new_id
        )
        self._members = seen.members
        await saga.step(Record.delete_replacement_record, Order, "delete the record")

    async def _roll_back(self, error: Stopped | StepFailed) -> NoReturn:
        """Everything back, in the order that is safe; then say what failed."""
        stopped = isinstance(error, Stopped) or self._saga.stop_requested
        if isinstance(error, StepFailed) and error.is_late:
            nothing_begun = error.name == "claim_replacement_record"
            outcome = Outcome.REFUSED if nothing_begun else Outcome.LEFT_INCOMPLETE
            self._fail(outcome, f"{error}; this run changes nothing any more")
        try:
            await self._saga.roll_back()
        except StepFailed as late:
            self._fail(Outcome.LEFT_INCOMPLETE, f"{late}; this run changes nothing any more")
        if stopped:
            self._cancelled("everything is back")
        self._fail(Outcome.ROLLED_BACK, f"{error}; everything is back")

    async def _leave_incomplete(self, error: Stopped | StepFailed) -> NoReturn:
        """Past the removal the flag must not go back before the new member is a started voter: rest safely."""
        if self._saga.phase in (Phase.RESTORING, Phase.VERIFYING):
            stays = (
                "the new member is a voter; what of flag and updateStrategy is not back yet stays as it is"
            )
        else:
            stays = (
                "the member is removed: the flag existing and OnDelete stay, harmless for members with data"
            )
        reason = f"{error}; {stays}; the PodDisruptionBudget is back"
        try:
            await self._saga.rest_safely()
            await self._saga.compensate(
                Record.close_replacement_record,
                ClosingOrder,
                "write down why",
                outcome=Outcome.LEFT_INCOMPLETE,
                reason=reason,
            )
        except StepFailed as late:
            reason = f"{error}; {late}; this run changes nothing any more"
        self._fail(Outcome.LEFT_INCOMPLETE, reason)
