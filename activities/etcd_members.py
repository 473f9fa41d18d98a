"""Step 5 of the runbook, and what it forgets: remove the member, add it back, wait until it is a healthy voter.

Everything is decided by member lists that all survivors confirm, before and after; never by an exit code or
the text of an error. `remove_member` is the point of no return.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from temporalio import activity

from activities.asking_again import pause_after
from activities.fencing import Attempt, fenced
from activities.node import keep_cordoned, must_be_cordoned, must_be_unscheduled
from activities.recheck import Moment, must_hold_still
from activities.side_by_side import side_by_side
from activities.standing_edit import edit_is_gone, edit_stands
from activities.stateful_set import flag_in_pod
from activities.step import Toolbox, step, tell
from activities.survivors import LAST_PROBE_SECONDS, Survivors, output_of
from replace_etcd.cluster import POD, STATEFUL_SET, CommandResult
from replace_etcd.errors import (
    ClusterError,
    CommandFailed,
    Moved,
    NoProgress,
    NotStarted,
    NotYet,
    OutcomeUnknown,
    RecordGone,
    RemovalDidNotStart,
    ReplacementError,
    Unreachable,
)
from replace_etcd.etcd import Alarm, MemberStatus, outlived_by, parse_alarms, parse_members, same_member
from replace_etcd.models.orders import (
    Done,
    MemberAdded,
    MemberRemoved,
    MembersSeen,
    NewMemberOrder,
    Order,
    Recalled,
    RemovalSettled,
)
from replace_etcd.models.phase import BEFORE_THE_REMOVAL, PAST_THE_REMOVAL, Phase
from replace_etcd.models.plan import Member, Pins
from replace_etcd.pod_template import is_ready

POLL_SECONDS = 0.2
ADD_SECONDS = 60.0
APPLIED_SECONDS = 10.0
LOST_SECONDS = 10.0
ASKED_SECONDS = 60.0
# What passes by itself, or is for people to mend while it is waited for; a lost record is neither.
PASSING = (CommandFailed, NotStarted, NotYet, Moved, OutcomeUnknown, ClusterError, Unreachable)


class EtcdMemberActivities:
    """Steps that change the membership, and those that wait for it."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._survivors = Survivors(tools)

    @step
    async def remove_member(self, order: Order) -> MemberRemoved:
        """Remove the pinned id, a literal; done where no survivor lists it.

        Until the command is sent, every doubt is `RemovalDidNotStart`: there is still a way back. Before it is
        sent, the record says `removing`; from then on only a list that all survivors confirm decides.
        """
        pins = order.pins
        attempt = Attempt(self._tools, order)
        try:
            found = await attempt.begin()
        except Moved as error:  # the record is gone, and with it any sign of an earlier attempt
            if _is_the_first(order):
                raise RemovalDidNotStart(str(error)) from error
            raise OutcomeUnknown(str(error)) from error
        sent_before = found is not None and found.furthest is Phase.REMOVING
        sent_just_now = found is not None and found.phase is Phase.REMOVING
        members = await self._survivors.members(pins)
        if not _listed(members, pins.member_id):
            # It is removed, whoever did it: from here on there is no way back.
            await attempt.hold(Phase.REMOVING)
            await attempt.end()
            _must_not_be_another(members, pins)
            return await self._removed(pins, members, "no survivor lists it any more")
        try:
            if sent_before and not sent_just_now:
                await self._must_be_lost(pins, attempt)
                sent_before = False
            if not sent_before:
                await self._must_be_safe(pins)
        except Moved as error:
            await attempt.end()
            raise RemovalDidNotStart(str(error)) from error
        except ReplacementError:  # nothing was sent: the next attempt need not wait
            await attempt.end()
            raise
        try:
            await attempt.hold(Phase.REMOVING)
        except Moved as error:  # the record is gone since this attempt began
            raise (OutcomeUnknown if sent_before else RemovalDidNotStart)(str(error)) from error
        await self._send_removal(pins, attempt, sent_before=sent_before)
        members = await self._wait_for_list(
            pins, lambda now: not _listed(now, pins.member_id), APPLIED_SECONDS
        )
        await attempt.end()
        return await self._removed(pins, members, f"member {pins.member_id} ({pins.member_name})")

    @step
    async def disarm_alarm_of_removed_member(self, order: Order) -> Done:
        """Disarm what the removed member had raised, or writes stay refused; done where no alarm stands.

        `etcdctl alarm disarm` disarms every alarm: so only where all of them are of members that are listed no more.
        """
        pins = order.pins
        async with fenced(self._tools, order) as attempt:
            members = await self._run_in_survivor(pins, ["member", "list", "-w", "json"])
            listed = {member.id for member in parse_members(output_of("etcdctl member list", members))}
            await attempt.hold()
            # The last look: an alarm that comes now is not to go with the others.
            alarms = await self._alarms(pins)
            if not alarms:
                return Done(note="no alarm stands")
            if not all(outlived_by(alarm, listed) for alarm in alarms):
                raise Moved(f"alarms of other members stand: {[f'{a.member_id} {a.alarm}' for a in alarms]}")
            answer = await self._run_in_survivor(pins, ["alarm", "disarm"])
            output_of("etcdctl alarm disarm", answer)
        return Done(note=f"{alarms[0].alarm} of {alarms[0].member_id}")

    @step
    async def settle_removal(self, order: Order) -> RemovalSettled:
        """Whether a removal may still take effect, once no attempt of it can be alive any more.

        The record tells, and its phase is kept: `removing` is written to it before the command is sent. Where it
        is gone nobody can tell, and it may have been. One that was sent is lost for good where every survivor
        has applied all that is committed and lists the member all the same, for some seconds.
        """
        attempt = Attempt(self._tools, order)
        found = await attempt.begin(keep_phase=True)
        may_be_sent = found is None or found.furthest in PAST_THE_REMOVAL
        if found is not None and found.furthest is Phase.REMOVING and await self._is_lost(order.pins):
            await attempt.hold(Phase.DRAINING)
            may_be_sent = False
        await attempt.end()
        is_removed = may_be_sent and await self._is_gone(order.pins)
        return RemovalSettled(may_be_sent=may_be_sent, is_removed=is_removed)

    @step
    async def recall_what_was_begun(self, order: Order) -> Recalled:
        """Ask what the run has begun of which this one is a reset, and whether that has a way back; changes nothing.

        The record tells; where it is gone, or was written anew by the reset, the survivors do. `LockLost` where it is
        another replacement's.
        """
        record = await Attempt(self._tools, order).look()
        pins = (record.pins if record else None) or order.pins
        if record is not None and record.furthest in PAST_THE_REMOVAL:
            removed = record.furthest is not Phase.REMOVING or await self._is_gone(pins)
            return Recalled(pins=pins, way_back=False, furthest=record.furthest, is_removed=removed)
        if record is not None:
            removed = await self._is_gone(pins)
            way_back = not removed
        else:
            way_back, removed = await self._ask_for_a_way_back(pins)
        note = f"{'a' if way_back else 'no'} way back; {'the' if record else 'no'} record"
        return Recalled(pins=pins, way_back=way_back, furthest=Phase.REMOVING, is_removed=removed, note=note)

    @step
    async def add_member(self, order: Order) -> MemberAdded:
        """Add the member under its name's peer URLs; one that is listed and not started is ours, from a retry.

        etcd refuses for some seconds after a removal, until every peer has been connected for 5 s: tried again.
        """
        pins = order.pins
        async with (
            fenced(self._tools, order) as attempt,
            edit_stands(self._tools, attempt, pins),
            asyncio.timeout(ADD_SECONDS),
        ):
            while True:
                await keep_cordoned(self._tools, attempt, pins)
                members = await self._survivors.members(pins)
                added = _successor(members, pins)
                if added is not None:
                    await attempt.write_down(new_member_id=added.id)
                    return MemberAdded(member_id=added.id, members=members, note=_kind(added))
                await attempt.hold()
                answer = await self._run_in_survivor(pins, self._add_command(pins))
                if answer.exit_code != 0:
                    tell(f"etcd does not take the new member yet: {answer.stderr.strip()[-200:]}")
                    await asyncio.sleep(POLL_SECONDS)

    @step
    async def promote_member(self, order: NewMemberOrder) -> Done:
        """Wait until the learner is in sync and promote it; done where it is a voter.

        Only etcd knows when a learner is in sync: it refuses a promotion that comes too early. `NoProgress` where
        the learner has not come any closer for too long.
        """
        pins, new_id = order.pins, order.new_member_id
        async with fenced(self._tools, order) as attempt, edit_stands(self._tools, attempt, pins):

            async def voter(progress: Progress) -> bool:
                member = _must_be_listed(await self._survivors.members(pins), new_id)
                if not member.learner:
                    return True
                progress.see("started" if member.started else "listed")
                if not member.started:
                    tell(f"learner {new_id} is added; it has not started yet")
                    return False
                await attempt.hold()
                promoted = await self._run_in_survivor(pins, ["member", "promote", new_id])
                members = await self._survivors.members(pins) if promoted.exit_code == 0 else []
                if members and not _must_be_listed(members, new_id).learner:
                    return True
                progress.see(await self._applied(pins))
                return False

            await _wait(f"learner {new_id}", voter, order.patience_seconds)
        return Done(note=f"{new_id} is a voter")

    @step
    async def wait_for_voter(self, order: NewMemberOrder) -> MembersSeen:
        """Wait until the new member is a started voter that answers by itself, in a Ready pod with `existing`.

        It changes nothing; it has the record so that the edit of the template is watched meanwhile. `NoProgress`
        as for the promotion.
        """
        pins, new_id = order.pins, order.new_member_id
        members: list[Member] = []
        async with fenced(self._tools, order) as attempt, edit_stands(self._tools, attempt, pins):

            async def serves(progress: Progress) -> bool:
                nonlocal members
                members = await self._survivors.members(pins)
                member = _must_be_listed(members, new_id)
                progress.see("started" if member.started else "listed")
                status = await self._survivors.status(pins, pins.replica)
                if not _serves(status, new_id):  # every write moves it, once it serves
                    progress.see(status.raft_applied_index)
                pod = await self._tools.cluster.get(POD, pins.replica, pins.user_cluster)
                ready = pod is not None and is_ready(pod) and flag_in_pod(pod, pins) == pins.flag.existing
                return member.started and not member.learner and _serves(status, new_id) and ready

            await _wait(f"voter {new_id}", serves, order.patience_seconds)
        return MembersSeen(members=members, note=f"{pins.member_name} is {new_id}, {len(members)} voters")

    async def _ask_for_a_way_back(self, pins: Pins) -> tuple[bool, bool]:
        """Whether there is one without a record, and whether the member is removed; neither where nobody can tell.

        The edit stands from before the removal until the new member is a voter.
        """
        name = self._tools.settings.stateful_set
        if edit_is_gone(await self._tools.cluster.get(STATEFUL_SET, name, pins.user_cluster), pins):
            return True, False
        until = time.monotonic() + ASKED_SECONDS
        while time.monotonic() < until:
            if await self._is_lost(pins):
                return True, False
            if await self._is_gone(pins):
                return False, True
            await asyncio.sleep(POLL_SECONDS)
        return False, False

    async def _is_gone(self, pins: Pins) -> bool:
        """Whether no survivor lists the member; False where they cannot be asked."""
        try:
            return not _listed(await self._survivors.members(pins), pins.member_id)
        except PASSING as error:
            tell(f"the survivors cannot say whether the member is removed: {error}")
            return False

    async def _must_be_lost(self, pins: Pins, attempt: Attempt) -> None:
        """What was sent by a run before this one, or before a hold, has come to nothing; `NotYet` while it may come.

        The last look was hours ago, perhaps: once nothing is on its way any more, there is a way back, and it is
        looked at everything anew.
        """
        if not await self._is_lost(pins):
            raise NotYet(f"a removal of member {pins.member_id} that was sent earlier may still be applied")
        await attempt.hold(Phase.DRAINING)

    async def _is_lost(self, pins: Pins) -> bool:
        """Whether the removal that was sent will never be applied; what cannot be asked now may be applied yet.

        A linearizable read waits until a member has applied everything that is committed: only then does its own
        list count (https://etcd.io/docs/v3.5/learning/api_guarantees/#isolation-level-and-consistency-of-replicas).
        """
        until = time.monotonic() + LOST_SECONDS
        try:
            while True:
                for survivor in pins.survivors:
                    read = await self._survivors.run(pins, survivor.pod, ["get", "replace-etcd"])
                    output_of("etcdctl get", read)
                if not _listed(await self._survivors.members(pins), pins.member_id):
                    return False
                if time.monotonic() > until:
                    return True
                await asyncio.sleep(POLL_SECONDS)
        except PASSING as error:
            tell(f"the survivors cannot say whether a removal is on its way: {error}")
            return False

    async def _removed(self, pins: Pins, members: list[Member], note: str) -> MemberRemoved:
        alarms = await self._alarms(pins)
        return MemberRemoved(members=members, note=note, alarm_stands=bool(alarms))

    async def _alarms(self, pins: Pins) -> list[Alarm]:
        answer = await self._run_in_survivor(pins, ["alarm", "list", "-w", "json"])
        return parse_alarms(output_of("etcdctl alarm list", answer))

    async def _applied(self, pins: Pins) -> int | None:
        """How far the new member says it is, which is told beside how far a survivor is; None while it is silent."""
        try:
            status, ahead = await side_by_side(
                self._survivors.status(pins, pins.replica),
                self._survivors.status(pins, pins.survivors[0].pod),
            )
        except PASSING:
            tell(f"learner {pins.member_name} does not answer yet: it starts, or receives the snapshot")
            return None
        tell(_catching_up(status, ahead))
        return status.raft_applied_index

    async def _must_be_safe(self, pins: Pins) -> None:
        """Every reason not to remove, asked right before the removal."""
        # Its pod has been evicted: a short probe is enough to find one that came back all the same.
        await side_by_side(
            must_hold_still(self._tools, self._survivors, pins, moment=Moment.REMOVAL),
            must_be_cordoned(self._tools, pins),
            must_be_unscheduled(self._tools, pins),
            self._survivors.must_be_silent(pins, seconds=LAST_PROBE_SECONDS),
        )

    async def _send_removal(self, pins: Pins, attempt: Attempt, *, sent_before: bool) -> None:
        """Send the command; its answer is not asked, the list is. One that never started leaves the way back."""
        try:
            await self._run_in_survivor(pins, ["member", "remove", pins.member_id])
        except NotStarted as error:
            if sent_before:
                raise
            await attempt.hold(Phase.DRAINING)
            await attempt.end()
            raise RemovalDidNotStart(str(error)) from error
        except (OutcomeUnknown, Unreachable) as error:
            tell(f"the end of the removal was not seen: {error}")

    async def _wait_for_list(
        self, pins: Pins, condition: Callable[[list[Member]], bool], seconds: float
    ) -> list[Member]:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    members = await self._survivors.members(pins)
                    if condition(members):
                        return members
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise OutcomeUnknown(
                f"the survivors still list member {pins.member_id}; it may go any moment"
            ) from None

    async def _run_in_survivor(self, pins: Pins, arguments: list[str]) -> CommandResult:
        """Run in the first survivor that takes the command; only one that never started is tried elsewhere."""
        *others, last = pins.survivors
        for survivor in others:
            try:
                return await self._survivors.run(pins, survivor.pod, arguments)
            except NotStarted:
                continue
        return await self._survivors.run(pins, last.pod, arguments)

    def _add_command(self, pins: Pins) -> list[str]:
        learner = ["--learner"] if pins.join_as_learner else []
        return ["member", "add", pins.member_name, f"--peer-urls={','.join(pins.peer_urls)}", *learner]


def _serves(status: MemberStatus, member_id: str) -> bool:
    """Whether the new member answers for itself, with a leader and without an error."""
    tell(f"member {status.member_id} at raft index {status.raft_applied_index} of {status.raft_index}")
    led = status.leader_id != "0" and not status.errors
    return status.member_id == member_id and not status.learner and led


def _catching_up(status: MemberStatus, ahead: MemberStatus) -> str:
    behind = max(0, ahead.raft_index - status.raft_applied_index)
    return f"learner at raft index {status.raft_applied_index} of {ahead.raft_index}, {behind} behind"


class Progress:
    """Remembers when something last came closer; `NoProgress` where that is too long ago."""

    def __init__(self, what: str, seconds: float) -> None:
        self._what, self._seconds = what, seconds
        self._seen: set[object] = set()
        self._since = time.monotonic()

    def see(self, sign: object) -> None:
        """A sign that was not seen before is progress."""
        if sign is not None and sign not in self._seen:
            self._seen.add(sign)
            self._since = time.monotonic()

    def must_go_on(self, why: str) -> None:
        """Give up where nothing has come closer for too long."""
        if time.monotonic() - self._since > self._seconds:
            raise NoProgress(f"{self._what}: no progress for {self._seconds:.0f} s: {why}")


async def _wait(what: str, reached: Callable[[Progress], Awaitable[bool]], seconds: float) -> None:
    """Look again and again; what may pass by itself is said and waited for."""
    progress, why, began = Progress(what, seconds), "not in sync", time.monotonic()
    while True:
        try:
            if await reached(progress):
                return
        except RecordGone:  # the next attempt writes it again; this one has lost the right to act
            raise
        except PASSING as error:
            why = str(error)
            tell(f"waiting for {what}: {why}")
        progress.must_go_on(why)
        await asyncio.sleep(pause_after(time.monotonic() - began))


def _is_the_first(order: Order) -> bool:
    """Whether no attempt to remove the member can have come before this one, of this run or of one before it."""
    fence = order.fence
    return not fence.goes_on and fence.phase in BEFORE_THE_REMOVAL and activity.info().attempt == 1


def _listed(members: list[Member], member_id: str) -> bool:
    return any(member.id == member_id for member in members)


def _must_be_listed(members: list[Member], member_id: str) -> Member:
    for member in members:
        if member.id == member_id:
            return member
    raise Moved(f"the new member {member_id} is not listed any more")


def _must_not_be_another(members: list[Member], pins: Pins) -> None:
    """Another id under the name or a peer URL: a late attempt once removed the new member this way."""
    for member in members:
        if member.id != pins.member_id and same_member(member, pins.member_name, pins.peer_urls):
            raise Moved(f"member {member.id} has the name or a peer URL of {pins.member_id}")


def _successor(members: list[Member], pins: Pins) -> Member | None:
    """The member that stands under the peer URLs of the removed one."""
    for member in members:
        if same_member(member, pins.member_name, pins.peer_urls):
            if member.id == pins.member_id:
                raise Moved(f"member {pins.member_id} is still listed")
            return member
    return None


def _kind(member: Member) -> str:
    return f"{member.id}, {'learner' if member.learner else 'voter'}"
