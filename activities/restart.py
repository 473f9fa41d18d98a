"""The last restart: pods that still carry `existing` get the template's flag back, one at a time, by our own hand.

The StatefulSet stays `OnDelete` meanwhile, so that nobody else restarts anything. Normally only the replaced
pod carries it; a survivor does if its node rebooted in the window (docs/contract.md, Order, 8). On the way back it is
the evicted pod's successor, which normally has no node yet.
"""

import asyncio
import time
from typing import TypeGuard

from activities.asking_again import pause_after
from activities.fencing import Attempt, fenced
from activities.node import give_node_up
from activities.standing_edit import edit_stands
from activities.stateful_set import (
    StatefulSetActivities,
    flag_in_pod,
    flag_of,
    on_delete_stays,
    pods_of,
    read_stateful_set,
)
from activities.step import Toolbox, step, tell
from activities.survivors import Survivors
from replace_etcd.cluster import CLAIM, NODE, POD, Object
from replace_etcd.errors import (
    ClusterError,
    CommandFailed,
    Moved,
    NotStarted,
    NotYet,
    OutcomeUnknown,
    Unreachable,
)
from replace_etcd.etcd import MemberStatus
from replace_etcd.models.orders import Done, Left, NewMemberOrder, Order
from replace_etcd.models.plan import Pins
from replace_etcd.pod_template import is_ready

RECREATED_SECONDS = 120.0
REPLACED_SECONDS = 60.0
SCHEDULABLE_SECONDS = 120.0
COSTS_NOTHING_SECONDS = 45.0


class RestartActivities:
    """Steps that restart pods."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._survivors = Survivors(tools)
        self._template = StatefulSetActivities(tools)

    @step
    async def restart_replaced_pod(self, order: NewMemberOrder) -> Done:
        """Delete each pod that carries `existing`, by uid, and wait for its voter; done where none carries it.

        After it nothing needs the node any more: it is given up.
        """
        pins = order.pins
        restarted = []
        async with (
            fenced(self._tools, order) as attempt,
            edit_stands(self._tools, attempt, pins, flag=False),
        ):
            stateful_set = await read_stateful_set(self._tools, pins)
            if flag_of(stateful_set, pins) == pins.flag.existing:
                await give_node_up(self._tools, attempt, pins)
                return Done(note="existing is the template's own flag: nothing to restart")
            for pod in await pods_of(self._tools, stateful_set):
                if flag_in_pod(pod, pins) == pins.flag.existing:
                    voters = await self._may_restart(pins, pod, stateful_set)
                    await self._restart(attempt, pins, pod, voters)
                    restarted.append(pod["metadata"]["name"])
            await self._wait_for_all(pins, stateful_set)
            await give_node_up(self._tools, attempt, pins)
        return Done(note=f"restarted: {', '.join(restarted) or 'none'}")

    @step
    async def replace_pod_with_wrong_flag(self, order: Order) -> Left:
        """Compensation: a pod that was re-created with `existing` is deleted, so that its successor is as before.

        One that serves again is restarted as on the way forward, and left where that would cost a voter that is needed.
        Done where the pod carries the old flag: idempotent by what the pod says.
        """
        pins = order.pins
        if pins.flag.existing == pins.flag.original:
            return Left(note="the flag was existing before")
        async with fenced(self._tools, order) as attempt:
            try:
                stateful_set = await read_stateful_set(self._tools, pins)
            except Moved:
                return Left(note="moot: the StatefulSet is not there any more")
            done = await self._replace(attempt, pins, stateful_set)
            serving = await self._template.strategy_back(attempt, pins)
        left = [*done.left, *([on_delete_stays(serving)] if serving else [])]
        return done.model_copy(update={"left": left})

    async def _replace(self, attempt: Attempt, pins: Pins, stateful_set: Object) -> Left:
        if not _makes_pod(stateful_set, pins):
            return Left(note="moot: nothing would bring the pod back")
        pod = await self._tools.cluster.get(POD, pins.replica, pins.user_cluster)
        if pod is not None and flag_in_pod(pod, pins) != pins.flag.existing:
            return Left(note="the pod carries the flag that it had")
        if (flag := flag_of(stateful_set, pins)) != pins.flag.original:
            why = f"{pins.replica} is not replaced: its successor would carry {flag}, which somebody else has set"
            return Left(note=why, left=[why])
        if pod is not None and await self._survivors.may_serve(pins, pod):
            return await self._restart_if_it_costs_nothing(attempt, pins, pod, stateful_set)
        if pod is not None:
            await attempt.hold()
            await self._tools.cluster.delete(
                POD,
                pins.replica,
                pins.user_cluster,
                uid=pod["metadata"]["uid"],
                grace=self._tools.settings.eviction_grace_seconds,
            )
        if await self._claim_is_going(pins):
            return Left(note=f"no pod is made while {pins.claim} is being deleted; the next one is as before")
        await self._tools.cluster.wait_for(
            POD,
            pins.replica,
            pins.user_cluster,
            lambda found: found is not None and flag_in_pod(found, pins) == pins.flag.original,
            seconds=REPLACED_SECONDS,
        )
        return Left(note="re-created with the flag that it had")

    async def _restart_if_it_costs_nothing(
        self, attempt: Attempt, pins: Pins, pod: Object, stateful_set: Object
    ) -> Left:
        """With every voter healthy, itself among them, and a node that takes it back: ours is needed no more."""
        await give_node_up(self._tools, attempt, pins)
        try:
            async with asyncio.timeout(COSTS_NOTHING_SECONDS):
                voters = await self._may_restart(pins, pod, stateful_set)
        except (TimeoutError, NotYet):
            why = (
                f"{pins.replica} runs with {pins.flag.existing} and is not restarted: not every voter is healthy, "
                "or its node is cordoned; delete the pod once all are, and see that updateStrategy is "
                f"{pins.update_strategy}"
            )
            return Left(note=why, left=[why])
        await self._restart(attempt, pins, pod, voters)
        return Left(note=f"{pins.replica} served again: restarted with the flag that it had")

    async def _claim_is_going(self, pins: Pins) -> bool:
        """Its volume is held by the utility Pod, which is to go after this: to wait for a pod would be for ever."""
        claim = await self._tools.cluster.get(CLAIM, pins.claim, pins.user_cluster)
        return claim is not None and "deletionTimestamp" in claim["metadata"]

    async def _may_restart(self, pins: Pins, pod: Object, stateful_set: Object) -> dict[str, MemberStatus]:
        """Wait until a restart costs no voter that is needed; returns all of them, each by its pod."""
        await self._wait_for_node(pod)
        return await self._wait_for_all(pins, stateful_set)

    async def _restart(
        self, attempt: Attempt, pins: Pins, pod: Object, voters: dict[str, MemberStatus]
    ) -> None:
        name = pod["metadata"]["name"]
        await self._move_leadership_away(pins, attempt, name, voters)
        await attempt.hold()
        await self._tools.cluster.delete(POD, name, pins.user_cluster, uid=pod["metadata"]["uid"])
        tell(f"waiting until pod {name} is back with {pins.flag.original}")
        await self._tools.cluster.wait_for(
            POD,
            name,
            pins.user_cluster,
            lambda found: is_ready(found) and flag_in_pod(found or {}, pins) == pins.flag.original,
            seconds=RECREATED_SECONDS,
        )

    async def _wait_for_node(self, pod: Object) -> None:
        """A pod that is deleted while its node is cordoned does not come back, and its voter would be missing."""
        name = pod["spec"].get("nodeName")
        if name is None:
            raise NotYet(f"pod {pod['metadata']['name']} has no node yet")
        tell(f"waiting until {name} is schedulable: pod {pod['metadata']['name']} is restarted there")
        await self._tools.cluster.wait_for(
            NODE,
            name,
            None,
            lambda node: node is None or not node["spec"].get("unschedulable"),
            seconds=SCHEDULABLE_SECONDS,
        )

    async def _move_leadership_away(
        self, pins: Pins, attempt: Attempt, name: str, voters: dict[str, MemberStatus]
    ) -> None:
        """A leader that ends costs an election and a gap in the writes; a leader that was asked to go does not."""
        mine = voters.get(name)
        if mine is None:
            raise NotYet(f"{name} is none of the {len(voters)} healthy voters")
        if mine.leader_id != mine.member_id:
            return
        heir = next(status for other, status in voters.items() if other != name)
        await attempt.hold()
        answer = await self._survivors.run(pins, name, ["move-leader", heir.member_id])
        if answer.exit_code != 0:
            raise CommandFailed("etcdctl move-leader", answer.exit_code, answer.stderr)
        tell(f"leadership moved to {heir.member_id}")

    async def _wait_for_all(self, pins: Pins, stateful_set: Object) -> dict[str, MemberStatus]:
        """All voters healthy by themselves, each by its pod: a restart is allowed only then."""
        began = time.monotonic()
        while True:
            pods = [pod["metadata"]["name"] for pod in await pods_of(self._tools, stateful_set)]
            answers = await asyncio.gather(
                *(self._survivors.status(pins, pod) for pod in pods), return_exceptions=True
            )
            for answer in answers:
                if isinstance(answer, BaseException) and not _may_pass(answer):
                    raise answer
            healthy = {
                pod: answer for pod, answer in zip(pods, answers, strict=True) if _is_healthy_voter(answer)
            }
            if len(healthy) == pins.voters and len({s.leader_id for s in healthy.values()}) == 1:
                return healthy
            tell(f"{len(healthy)} of {pins.voters} voters healthy")
            await asyncio.sleep(pause_after(time.monotonic() - began))


def _makes_pod(stateful_set: Object, pins: Pins) -> bool:
    """Whether the StatefulSet is not scaled below the pod's ordinal."""
    spec = stateful_set["spec"]
    first = (spec.get("ordinals") or {}).get("start", 0)
    return bool(pins.ordinal < first + spec["replicas"])


def _is_healthy_voter(answer: object) -> TypeGuard[MemberStatus]:
    return (
        isinstance(answer, MemberStatus)
        and answer.leader_id != "0"
        and not answer.learner
        and not answer.errors
    )


def _may_pass(error: BaseException) -> bool:
    passing = (ClusterError, CommandFailed, NotStarted, NotYet, OutcomeUnknown, Unreachable)
    return isinstance(error, passing) and not isinstance(error, Moved)
