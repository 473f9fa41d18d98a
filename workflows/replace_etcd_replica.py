"""`ReplaceEtcdReplica`: the vendor's runbook, the steps that it forgets, and what happens when one fails.

Read `_carry_out` and what it calls top to bottom: they are the steps in their order (docs/contract.md, Order of the
steps; docs/architecture.md has the table from the runbook to the activities). An unfinished replacement goes through
the same steps, from where the preflight found it.
"""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.endings import Endings
from workflows.saga import StepFailed, Stopped, nothing_begun_is_forgotten
from workflows.ways_back import undo_what_was_begun

with workflow.unsafe.imports_passed_through():
    from activities.data_directory import DataDirectoryActivities as Data
    from activities.etcd_members import EtcdMemberActivities as Members
    from activities.node import NodeActivities as Node
    from activities.pod_disruption_budget import PodDisruptionBudgetActivities as Budget
    from activities.preflight import PreflightActivities
    from activities.replacement_record import RecordActivities as Record
    from activities.restart import RestartActivities as Restart
    from activities.snapshot import SnapshotActivities as Snapshots
    from activities.stateful_set import StatefulSetActivities as Template
    from activities.utility_pod import UtilityPodActivities as Utility
    from activities.verification import VerificationActivities as Verification
    from replace_etcd.models.orders import (
        DrainOrder,
        EvictionOrder,
        NewMemberOrder,
        Order,
        PdbOrder,
        SnapshotOrder,
        UncordonOrder,
        UtilityPodOrder,
        UtilityPodReady,
    )
    from replace_etcd.models.phase import Phase
    from replace_etcd.models.plan import Pins, Plan
    from replace_etcd.models.request import DrainMode, PdbMode, ReplacementRequest
    from replace_etcd.models.result import Outcome, ReplacementResult
    from replace_etcd.narration import refusal
    from replace_etcd.search_attributes import FAILED_REPLICA

ROOMS = 3


@workflow.defn(name="ReplaceEtcdReplica")
class ReplaceEtcdReplica(Endings):
    """Replaces one failed etcd replica of one user cluster."""

    _rooms_made = 0

    @workflow.run
    async def run(self, submitted: Any = None) -> ReplacementResult:
        """Run it; the argument is the JSON of a `ReplacementRequest`.

        It is decoded here and not by the SDK, so that wrong input fails the workflow at once, with the field
        and the way out, instead of failing its first task for ever.
        """
        request = self._begin(submitted)
        # A cancel must reach the saga as a wish, not as an exception in the middle of a step: what it is
        # worth depends on the phase. So the work runs in a task of its own, and this one only listens.
        work = asyncio.create_task(self._replace_and_tell(request))
        while not work.done():
            try:
                await workflow.wait([work])
            except asyncio.CancelledError:
                self._hear_of_a_cancel()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return work.result()

    async def _replace_and_tell(self, request: ReplacementRequest) -> ReplacementResult:
        try:
            result = await self._replace(request)
        except (ApplicationError, asyncio.CancelledError):
            await self._chronicle.conclude()
            raise
        await self._chronicle.conclude()
        return result

    async def _replace(self, request: ReplacementRequest) -> ReplacementResult:
        try:
            pins = await self._look(request)
            if request.dry_run:
                return self._end(Outcome.PLANNED)
            if request.require_approval:
                pins = await self._wait_for_approval(request, pins)
        except Stopped:
            await self._cancelled(_nothing_changed())
        except StepFailed as error:
            self._fail(Outcome.REFUSED, f"{error}; {_nothing_changed()}")
        while True:
            try:
                await self._carry_out(request, pins)
                return self._end(Outcome.REPLACED)
            except (Stopped, StepFailed) as error:
                if isinstance(error, StepFailed) and error.forgets_the_removal:
                    self._saga.past_the_point_of_no_return = True
                elif isinstance(error, StepFailed) and error.lacks_room and self._may_make_room_again():
                    pass  # the look finds out what is left to do
                elif await self._there_is_a_way_back(error):
                    await self._roll_back(error)
                else:
                    await self._hold(error, request.limits)
            pins = await self._look_until_nothing_refuses(request)

    def _may_make_room_again(self) -> bool:
        """A few times: somebody who deletes each utility Pod, or uncordons the node each time, is to be asked."""
        self._rooms_made += 1
        return self._rooms_made <= ROOMS

    async def _look(self, request: ReplacementRequest) -> Pins:
        """Everything is looked at and pinned before anything changes."""
        plan = await self._ask_the_cluster(request)
        if plan.pins is None:
            self._fail(Outcome.REFUSED, f"{refusal(plan)}; {_nothing_changed()}")
        return self._bind(request, plan, plan.pins)

    async def _look_again(self, request: ReplacementRequest, *, taken: str | None = None) -> Pins:
        """Look once more, on the way: what refuses now fails the step, with what is to be put back.

        So does a pod that has left the node that was taken for it: that node is to be given up.
        """
        approved = self._plan.pins if self._plan else None
        plan = await self._ask_the_cluster(request)
        if plan.pins is None:
            raise StepFailed("preflight", "PreflightRefused", refusal(plan))
        if self._approval and not self._saga.past_the_point_of_no_return and plan.pins != approved:
            raise StepFailed("preflight", "Moved", "the cluster has changed since the plan was approved")
        if taken is not None and plan.pins.node != taken:
            raise StepFailed("preflight", "Moved", f"{plan.pins.replica} has left {taken} meanwhile")
        return self._bind(request, plan, plan.pins)

    async def _look_until_nothing_refuses(self, request: ReplacementRequest) -> Pins:
        while True:
            try:
                return await self._look_again(request)
            except StepFailed as error:
                await self._hold(error, request.limits)

    async def _ask_the_cluster(self, request: ReplacementRequest) -> Plan:
        replica = request.failed_replica or "the failed replica"
        looked = await self._saga.look(
            PreflightActivities.preflight, request, f"preflight for {replica} of {request.user_cluster}"
        )
        self._plan = looked.plan
        return looked.plan

    def _bind(self, request: ReplacementRequest, plan: Plan, pins: Pins) -> Pins:
        heir_of = plan.resume.heir_of if plan.resume else []
        self._saga.bind(pins, request.limits, heir_of=heir_of)
        self._chronicle.bind(pins)
        workflow.upsert_search_attributes([FAILED_REPLICA.value_set(pins.replica)])
        return pins

    async def _wait_for_approval(self, request: ReplacementRequest, pins: Pins) -> Pins:
        """Wait for `approve`; it binds these pins, so everything is looked at once more after it."""
        self._saga.enter(Phase.WAITING_FOR_APPROVAL)
        in_time = await self._ask_for_approval(request.limits.approval)
        if not in_time:
            limit = request.limits.approval
            self._fail(Outcome.DECLINED, f"nobody approved within {limit}; {_nothing_changed()}")
        if self._declined is not None:
            self._fail(
                Outcome.DECLINED, f"declined by {self._declined.approver}: {self._declined.comment or '-'}"
            )
        self._saga.enter(Phase.PREFLIGHT)
        again = await self._look(request)
        if again != pins:
            self._fail(
                Outcome.REFUSED, f"the cluster has changed since the plan was approved; {_nothing_changed()}"
            )
        return again

    async def _carry_out(self, request: ReplacementRequest, pins: Pins) -> None:
        """Every step, or those that an unfinished replacement still lacks."""
        resume = self._plan.resume if self._plan else None
        step = resume.step if resume else Phase.PROTECTING
        if step is Phase.PROTECTING:
            await self._settle_what_was_sent()
        else:
            self._saga.past_the_point_of_no_return = self._is_removed = True
            # Older histories have but these two.
            self._saga.undo_with(Utility.delete_utility_pod, Order, f"delete the utility Pod on {pins.node}")
            self._saga.undo_with(Node.uncordon_node, UncordonOrder, f"uncordon {pins.node}")
        if (
            resume
            and (resume.heir_of or self._saga.past_the_point_of_no_return)
            and nothing_begun_is_forgotten()
        ):
            self._inherits = True
            undo_what_was_begun(self._saga, resume.backup or self._backup)
        empties = step in (Phase.PROTECTING, Phase.CLEANING)
        pins = await self._take_hold(request, pins, empties=empties)
        if empties:
            utility = await self._make_room(request, pins)
            if step is Phase.PROTECTING:
                await self._take_snapshot(request, utility)
                await self._remove(pins)
            await self._clean(pins, utility)
        if step is Phase.RESTORING and resume and resume.new_member_id:
            self._new_member_id = new_id = resume.new_member_id
        else:
            if step is Phase.ADDING:
                await self._stand_again()
            new_id = await self._join(request, pins)
        await self._restore(pins, new_id)

    async def _settle_what_was_sent(self) -> None:
        """A removal from before a hold is lost for good, and there is a way back again, or it may be applied yet."""
        unknown = self._saga.past_the_point_of_no_return and not self._is_removed
        if unknown and nothing_begun_is_forgotten():
            if await self._may_be_sent():
                raise StepFailed("settle_removal", "OutcomeUnknown", "what was sent may be applied yet")
            self._saga.past_the_point_of_no_return = False

    async def _take_hold(self, request: ReplacementRequest, pins: Pins, *, empties: bool) -> Pins:
        """The record, the node, the backup: nothing of the user cluster changes yet."""
        saga = self._saga
        saga.enter(Phase.PROTECTING)
        saga.undo_with(Record.delete_replacement_record, Order, f"delete the record of {pins.user_cluster}")
        await saga.step(Record.claim_replacement_record, Order, f"claim the record of {pins.user_cluster}")
        resume = self._plan.resume if self._plan else None
        if resume and resume.alarm_stands and workflow.patched("disarm-left-alarm"):
            await (
                self._disarm()
            )  # an earlier run ended between the removal and this; no wait may come before it
        while not pins.node_ready:
            await self._hold_for_node(pins, request.limits)
            pins = await self._look_again(request)
        alone = request.pod_disruption_budget is PdbMode.DELETE or request.drain is DrainMode.NODE
        if empties and alone:
            pins = await self._take_node(request, pins)
        saga.enter(Phase.PROTECTING)
        backed_up = await saga.step(Budget.back_up_pod_disruption_budget, Order, f"back up {pins.pdb}")
        self._backup = backed_up.backup
        saga.undo_with(
            Budget.restore_pod_disruption_budget, PdbOrder, f"{pins.pdb} back", backup=self._backup
        )
        return pins

    async def _take_node(self, request: ReplacementRequest, pins: Pins) -> Pins:
        """One replacement at a time may empty a node, or leave its pods without a budget."""
        saga = self._saga
        saga.enter(Phase.WAITING_FOR_NODE)
        saga.undo_with(Node.uncordon_node, UncordonOrder, f"uncordon {pins.node}")
        taken = await saga.step(Node.take_node, Order, f"{pins.node} for this replacement alone")
        return await self._look_again(request, taken=pins.node) if taken.waited else pins

    async def _make_room(self, request: ReplacementRequest, pins: Pins) -> UtilityPodReady:
        """Steps 2 to 4 and 6 of the runbook, each with its way back."""
        saga = self._saga
        if pins.is_removed:  # nobody may evict a survivor now: the strict budget comes first
            await self._protect()

        saga.undo_with(
            Template.restore_flag_and_strategy, Order, f"{pins.flag.original} and update strategy back"
        )
        saga.undo_with(Restart.replace_pod_with_wrong_flag, Order, f"{pins.replica} back with its old flag")
        await saga.step(Template.join_existing_on_delete, Order, "flag existing and OnDelete, in one patch")

        saga.enter(Phase.DRAINING)
        saga.undo_with(Node.uncordon_node, UncordonOrder, f"uncordon {pins.node}")
        await saga.step(Node.cordon_node, Order, f"cordon {pins.node}")

        if not pins.claim_is_exclusive:
            utility = await self._mount(pins)
        await self._evict(request, pins)
        await self._protect()
        if pins.claim_is_exclusive:  # ReadWriteOncePod: one pod at a time
            utility = await self._mount(pins)
        if request.drain is DrainMode.NODE and not pins.is_removed:
            await self._drain(request, pins, utility)
        await saga.step(Node.wait_until_failed_pod_is_gone, Order, f"wait until {pins.replica} has ended")
        return utility

    async def _evict(self, request: ReplacementRequest, pins: Pins) -> None:
        """Step 2 of the runbook, and the beginning of step 4: the budget is away no longer than the eviction takes."""
        saga, seen_at = self._saga, None
        if request.pod_disruption_budget is PdbMode.DELETE and not pins.is_removed:
            seen = await saga.step(Node.watch_failed_member, Order, f"see {pins.replica} fail still")
            seen_at = seen.finished_at
            await saga.step(
                Budget.delete_pod_disruption_budget, PdbOrder, f"delete {pins.pdb}", backup=self._backup
            )
        await saga.step(
            Node.evict_failed_pod,
            EvictionOrder,
            f"evict {pins.replica} from {pins.node}, once seen to fail still",
            seen_to_fail_at=seen_at,
        )

    async def _mount(self, pins: Pins) -> UtilityPodReady:
        """Step 6 of the runbook, early: a wrong image, Secret or volume is found while there is a way back."""
        self._saga.undo_with(Utility.delete_utility_pod, Order, f"delete the utility Pod on {pins.node}")
        return await self._saga.step(Utility.create_utility_pod, Order, f"utility Pod with {pins.claim}")

    async def _protect(self) -> None:
        await self._saga.step(
            Budget.protect_survivors,
            PdbOrder,
            "a PodDisruptionBudget that admits no eviction",
            backup=self._backup,
        )

    async def _drain(self, request: ReplacementRequest, pins: Pins, utility: UtilityPodReady) -> None:
        """Step 4 of the runbook: the rest of the node."""
        evicted = sum(pod.evict for pod in (self._plan.drained if self._plan else []))
        await self._saga.step(
            Node.drain_node,
            DrainOrder,
            f"drain {pins.node}: {evicted} pod{'' if evicted == 1 else 's'} to evict",
            delete_emptydir_data=request.delete_emptydir_data,
            force=request.force_drain,
            skip_uids=[utility.uid],
        )

    async def _take_snapshot(self, request: ReplacementRequest, utility: UtilityPodReady) -> None:
        """What the runbook forgets: the data of a survivor, kept before anything is removed."""
        self._saga.enter(Phase.SNAPSHOTTING)
        taken = await self._saga.step(
            Snapshots.take_snapshot,
            SnapshotOrder,
            "snapshot of a survivor, to the worker",
            utility_uid=utility.uid,
            required=request.require_snapshot,
        )
        self._snapshot = taken.snapshot

    async def _remove(self, pins: Pins) -> None:
        """Step 5 of the runbook: the point of no return.

        A removal that failed is past it too, unless it is certain that no command was ever sent.
        """
        saga, self._is_removed = self._saga, False
        self._chronicle.deliver()
        try:
            removed = await saga.cross(
                Members.remove_member, Order, f"remove member {pins.member_id} ({pins.member_name})"
            )
        except StepFailed as error:
            if error.kind == "RemovalDidNotStart" or not await self._may_be_sent():
                saga.past_the_point_of_no_return = False
            raise
        self._is_removed = True
        if removed.alarm_stands:
            await self._disarm()

    async def _disarm(self) -> None:
        """What the runbook forgets: the alarm of a member outlives it, and refuses every write."""
        await self._saga.step(
            Members.disarm_alarm_of_removed_member, Order, "disarm the alarm of the removed member"
        )

    async def _clean(self, pins: Pins, utility: UtilityPodReady) -> None:
        """Step 7 of the runbook."""
        self._saga.enter(Phase.CLEANING)
        await self._saga.step(
            Data.clean_data_directory,
            UtilityPodOrder,
            f"empty {pins.claim}",
            utility_uid=utility.uid,
            member_inode=utility.member_inode,
        )

    async def _stand_again(self) -> None:
        """Before an unfinished replacement goes on where a member is to join: edit and budget must stand."""
        self._saga.enter(Phase.ADDING)
        await self._protect()
        await self._saga.step(
            Template.join_existing_on_delete, Order, "flag existing and OnDelete, in one patch"
        )

    async def _join(self, request: ReplacementRequest, pins: Pins) -> str:
        """Steps 8 and 9, and what the runbook forgets: add the member, and wait for it."""
        saga = self._saga
        await saga.step(Utility.delete_utility_pod, Order, f"delete the utility Pod on {pins.node}")
        saga.enter(Phase.ADDING)
        kind = "learner" if pins.join_as_learner else "voter"
        added = await saga.step(Members.add_member, Order, f"add {pins.member_name} as a {kind}")
        await saga.step(Node.uncordon_node, UncordonOrder, f"uncordon {pins.node}", keeps_it=True)

        saga.enter(Phase.REJOINING)
        self._new_member_id = new_id = added.member_id
        patience = request.limits.rejoin.total_seconds()
        await saga.step(
            Members.promote_member,
            NewMemberOrder,
            f"promote {new_id} when in sync",
            new_member_id=new_id,
            patience_seconds=patience,
        )
        await saga.step(
            Members.wait_for_voter,
            NewMemberOrder,
            f"wait for voter {new_id}",
            new_member_id=new_id,
            patience_seconds=patience,
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
        await saga.step(
            Template.restore_update_strategy,
            Order,
            f"updateStrategy {pins.update_strategy.get('type', '')} back",
        )
        await saga.step(
            Budget.restore_pod_disruption_budget, PdbOrder, f"{pins.pdb} back", backup=self._backup
        )

        saga.enter(Phase.VERIFYING)
        seen = await saga.step(
            Verification.verify_replacement,
            NewMemberOrder,
            f"verify: {pins.voters} voters, one keyspace, nothing left behind",
            new_member_id=new_id,
        )
        self._members = seen.members
        await saga.step(Record.delete_replacement_record, Order, f"delete the record of {pins.user_cluster}")


def _nothing_changed() -> str:
    """What is said where a run ends before its first change; the run that it is a reset of may have begun something."""
    info = workflow.info()
    if info.run_id == info.first_execution_run_id:
        return "nothing was changed"
    return "this run changed nothing; what the record says, if there is one, still holds"
