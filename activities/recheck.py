"""Everything that can have moved since the preflight, asked again: before the eviction and right before the removal.

It is all asked at once, so that the answers are of one moment and that moment is the last one before the act. What
will not pass by itself is `Moved`, with every reason, and means roll back; what may pass (an election, a node that
is away for some seconds) is `NotYet`, and is asked again.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from activities.dead_node import node_is_ready
from activities.fleet_stop import stop_reason
from activities.keyspace import equal_hashes
from activities.side_by_side import side_by_side
from activities.stateful_set import must_stand
from activities.step import Toolbox
from activities.survivors import Survivors, output_of
from replace_etcd.cluster import CLAIM, NODE, POD, Object
from replace_etcd.errors import Forbidden, Invalid, Moved, NotYet, ReplacementError
from replace_etcd.etcd import (
    CLOSE_RAFT_INDEXES,
    MemberStatus,
    hexadecimal,
    outlived_by,
    parse_alarms,
    raft_distance,
    same_member,
)
from replace_etcd.models.plan import Member, Pins
from replace_etcd.pod_template import uses_claim
from replace_etcd.quorum import tolerance_while_replacing

HASH_SECONDS = 30.0


class Moment(StrEnum):
    """Before which act the world has to hold still."""

    EVICTION = "eviction"
    REMOVAL = "removal"


@dataclass
class _Seen:
    """What was found not to be as in the plan: for good, or perhaps only now."""

    moved: list[str] = field(default_factory=list)
    not_yet: list[str] = field(default_factory=list)


async def must_hold_still(tools: Toolbox, survivors: Survivors, pins: Pins, *, moment: Moment) -> None:
    """`Moved`, with every reason, where the world is not that of the plan; `NotYet` where that may pass by itself."""
    recheck = _Recheck(tools, survivors, pins)
    await side_by_side(
        *(
            recheck.asked(part)
            for part in (
                must_stand(tools, pins),
                recheck.no_stop(),
                recheck.claim(),
                recheck.node(),
                recheck.pods(),
                recheck.members(),
                recheck.alarms(),
                recheck.statuses_and_hashes(),
            )
        )
    )
    recheck.judge(moment)


class _Recheck:
    """One look at everything; each part says what it found wrong."""

    def __init__(self, tools: Toolbox, survivors: Survivors, pins: Pins) -> None:
        self._tools = tools
        self._survivors = survivors
        self._pins = pins
        self._seen = _Seen()

    def judge(self, moment: Moment) -> None:
        """Raise what was found; what will not pass counts more."""
        if self._seen.moved:
            raise Moved(f"before the {moment.value}: {'; '.join(self._seen.moved)}")
        if self._seen.not_yet:
            raise NotYet(f"before the {moment.value}: {'; '.join(self._seen.not_yet)}")

    async def asked(self, part: Coroutine[Any, Any, None]) -> None:
        """Ask one part: what cannot be asked now may be later, but for a right that is missing."""
        try:
            await part
        except (Moved, Forbidden, Invalid) as error:
            self._seen.moved.append(str(error))
        except ReplacementError as error:
            self._seen.not_yet.append(str(error))

    async def no_stop(self) -> None:
        """Nobody has stopped the fleet; what is past the removal already is finished all the same."""
        if not self._pins.is_removed and (reason := await stop_reason(self._tools)):
            raise Moved(reason)

    async def claim(self) -> None:
        """The volume is that of the plan, and nobody deletes it."""
        pins = self._pins
        claim = await self._tools.cluster.get(CLAIM, pins.claim, pins.user_cluster)
        if claim is None or claim["metadata"]["uid"] != pins.claim_uid:
            raise Moved(f"claim {pins.claim} is not the one of the plan")
        if claim["metadata"].get("deletionTimestamp"):
            raise Moved(f"claim {pins.claim} is being deleted")

    async def node(self) -> None:
        """The node is that of the plan, and Ready if it was so."""
        pins = self._pins
        node = await self._tools.cluster.get(NODE, pins.node)
        if node is None or node["metadata"]["uid"] != pins.node_uid:
            raise Moved(f"node {pins.node} is not the one of the plan")
        if pins.node_ready and not node_is_ready(node):
            raise NotYet(f"node {pins.node} is not Ready any more")

    async def pods(self) -> None:
        """No survivor was re-created or is being deleted, and no other pod is on the volume."""
        pods = await self._tools.cluster.find(POD, self._pins.user_cluster)
        wrong = [*_survivors_that_moved(pods, self._pins), *self._strangers(pods)]
        if wrong:
            raise Moved("; ".join(wrong))

    def _strangers(self, pods: list[Object]) -> list[str]:
        pins = self._pins
        known = (pins.replica, f"{self._tools.settings.utility_name_prefix}-{pins.ordinal}")
        names = [pod["metadata"]["name"] for pod in pods if uses_claim(pod, pins.claim)]
        return [f"pod {name} uses {pins.claim}" for name in names if name not in known]

    async def members(self) -> None:
        """The survivors list the members of the plan and no other, all of them voters."""
        members = await self._survivors.members(self._pins)
        if wrong := members_that_moved(members, self._pins):
            raise Moved("; ".join(wrong))

    async def alarms(self) -> None:
        """No survivor has raised one: writes would be refused, or it is corrupt."""
        pins = self._pins
        answer = await self._survivors.run(pins, pins.survivors[0].pod, ["alarm", "list", "-w", "json"])
        alarms = parse_alarms(output_of("etcdctl alarm list", answer))
        theirs = [
            a for a in alarms if not outlived_by(a, {survivor.member_id for survivor in pins.survivors})
        ]
        if theirs:
            who = [f"{a.alarm} of {a.member_id if a.member_id != hexadecimal(0) else 'all'}" for a in theirs]
            raise Moved(f"alarms: {', '.join(who)}")

    async def statuses_and_hashes(self) -> None:
        """The hashes only where every survivor answers: of a silent one they are asked for half a minute."""
        if await self._statuses():
            await self._hashes()

    async def _statuses(self) -> bool:
        """Every survivor answers as itself, follows one leader, and is close to the others; whether all answer."""
        pins = self._pins
        answers = await asyncio.gather(
            *(self._survivors.status(pins, survivor.pod) for survivor in pins.survivors),
            return_exceptions=True,
        )
        asked = list(zip(pins.survivors, answers, strict=True))
        statuses = [answer for answer in answers if isinstance(answer, MemberStatus)]
        self._seen.moved += [
            f"survivor {survivor.pod} is member {answer.member_id}, not {survivor.member_id}"
            for survivor, answer in asked
            if isinstance(answer, MemberStatus) and answer.member_id != survivor.member_id
        ]
        silent = [
            f"survivor {survivor.pod} does not answer: {answer}"
            for survivor, answer in asked
            if not isinstance(answer, MemberStatus)
        ]
        moved, not_yet = statuses_that_moved(statuses, pins)
        self._seen.moved += moved
        self._seen.not_yet += [*silent, *not_yet]
        return not silent

    async def _hashes(self) -> None:
        """The survivors hold the same keys: one that is corrupt would become the truth."""
        pins = self._pins
        pods = [survivor.pod for survivor in pins.survivors]
        try:
            async with asyncio.timeout(HASH_SECONDS):
                wrong = await equal_hashes(self._survivors, pins, pods)
        except TimeoutError:
            raise NotYet(f"hashkv of {', '.join(pods)} takes more than {HASH_SECONDS:.0f} s") from None
        if wrong:
            raise Moved("; ".join(wrong))


def members_that_moved(members: list[Member], pins: Pins) -> list[str]:
    """What a member list that the survivors agree on says against the plan."""
    planned = {survivor.member_id for survivor in pins.survivors}
    listed = {member.id for member in members if member.id != pins.member_id}
    wrong = []
    if listed != planned:
        wrong.append(f"the members beside {pins.member_id} are {sorted(listed)}, not {sorted(planned)}")
    wrong += [f"member {member.id} is a learner" for member in members if member.learner]
    wrong += [
        f"member {member.id} has the name or a peer URL of {pins.member_id}"
        for member in members
        if member.id != pins.member_id and same_member(member, pins.member_name, pins.peer_urls)
    ]
    return wrong


def statuses_that_moved(statuses: list[MemberStatus], pins: Pins) -> tuple[list[str], list[str]]:
    """What the survivors say of themselves against the plan: what will not pass, and what may."""
    planned = {survivor.member_id for survivor in pins.survivors}
    moved = []
    if len({status.cluster_id for status in statuses}) > 1:
        moved.append(f"the survivors are of clusters {sorted({status.cluster_id for status in statuses})}")
    not_yet = []
    leaders = {status.leader_id for status in statuses}
    if statuses and (len(leaders) > 1 or not leaders <= planned):
        not_yet.append(f"the survivors follow {', '.join(sorted(leaders))}, none of them alone")
    if statuses and (apart := raft_distance(statuses)) > CLOSE_RAFT_INDEXES:
        not_yet.append(f"the survivors' raft indexes are {apart} apart")
    if tolerance_while_replacing(pins.voters, len(statuses), learner=pins.join_as_learner) < 0:
        not_yet.append(f"{len(statuses)} survivors of {pins.voters} voters are no quorum on the way")
    return moved, not_yet


def _survivors_that_moved(pods: list[Object], pins: Pins) -> list[str]:
    found = {pod["metadata"]["name"]: pod["metadata"] for pod in pods}
    wrong = []
    for survivor in pins.survivors:
        metadata = found.get(survivor.pod)
        if metadata is None or metadata["uid"] != survivor.pod_uid:
            wrong.append(f"survivor {survivor.pod} was restarted")
        elif metadata.get("deletionTimestamp"):
            wrong.append(f"survivor {survivor.pod} is being deleted")
    return wrong
