"""The last restart: pods that still carry `existing` get the template's flag back, one at a time, by our own hand.

The StatefulSet stays `OnDelete` meanwhile, so that nobody else restarts anything. Normally only the replaced
pod carries it; a survivor does if its node rebooted in the window (docs/contract.md, Order, 8).
"""

import asyncio
import time
from typing import TypeGuard

from activities.asking_again import pause_after
from activities.fencing import Attempt, fenced
from activities.node import give_node_up
from activities.standing_edit import edit_stands
from activities.stateful_set import flag_in_pod, flag_of, pods_of, read_stateful_set
from activities.step import Toolbox, step, tell
from activities.survivors import Survivors
from replace_etcd.cluster import NODE, POD, Object
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
from replace_etcd.models.orders import Done, NewMemberOrder
from replace_etcd.models.plan import Pins
from replace_etcd.pod_template import is_ready

RECREATED_SECONDS = 120.0
SCHEDULABLE_SECONDS = 120.0


class RestartActivities:
    """The step that restarts pods."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._survivors = Survivors(tools)

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
                    await self._restart(order, attempt, pod, stateful_set)
                    restarted.append(pod["metadata"]["name"])
            await self._wait_for_all(pins, stateful_set)
            await give_node_up(self._tools, attempt, pins)
        return Done(note=f"restarted: {', '.join(restarted) or 'none'}")

    async def _restart(
        self, order: NewMemberOrder, attempt: Attempt, pod: Object, stateful_set: Object
    ) -> None:
        pins, name = order.pins, pod["metadata"]["name"]
        await self._wait_for_node(pod)
        voters = await self._wait_for_all(pins, stateful_set)
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
