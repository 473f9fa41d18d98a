"""The last look: everything that was promised, read once more from the cluster and from etcd itself."""

from activities.fencing import fenced
from activities.keyspace import equal_hashes
from activities.node import HOLDER_PREFIX, cordon_holders
from activities.side_by_side import side_by_side
from activities.stateful_set import flag_in_pod, flag_of, pods_of, read_stateful_set
from activities.step import Toolbox, step
from activities.survivors import Survivors, output_of
from activities.utility_pod import UtilityPodActivities
from replace_etcd.cluster import NODE, POD
from replace_etcd.errors import NotYet
from replace_etcd.etcd import parse_alarms
from replace_etcd.models.orders import MembersSeen, NewMemberOrder
from replace_etcd.models.plan import Member, Pins


class VerificationActivities:
    """The step that verifies; read-only."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._survivors = Survivors(tools)
        self._utility = UtilityPodActivities(tools)

    @step
    async def verify_replacement(self, order: NewMemberOrder) -> MembersSeen:
        """`NotYet`, with everything that does not hold, until all of it holds.

        It changes nothing, and takes the record all the same: its words for people have to be those of this phase.
        """
        pins = order.pins
        async with fenced(self._tools, order):
            members, health, objects = await side_by_side(
                self._survivors.members(pins), self._health(pins), self._objects(pins)
            )
            wrong = [*self._membership(pins, members, order.new_member_id), *health, *objects]
        if wrong:
            raise NotYet("; ".join(wrong))
        return MembersSeen(
            members=members, note=f"{pins.voters} started voters, equal hashkv, nothing left behind"
        )

    def _membership(self, pins: Pins, members: list[Member], new_id: str) -> list[str]:
        voters = [member for member in members if member.started and not member.learner]
        wrong = []
        if len(voters) != pins.voters or len(members) != pins.voters:
            wrong.append(f"{len(voters)} started voters of {len(members)} members, not {pins.voters}")
        if any(member.id == pins.member_id for member in members):
            wrong.append(f"the removed member {pins.member_id} is listed")
        if not any(member.id == new_id for member in members):
            wrong.append(f"the new member {new_id} is not listed")
        return wrong

    async def _health(self, pins: Pins) -> list[str]:
        pods = [*(survivor.pod for survivor in pins.survivors), pins.replica]
        statuses = await side_by_side(*(self._survivors.status(pins, pod) for pod in pods))
        answer, hashes = await side_by_side(
            self._survivors.run(pins, pods[0], ["alarm", "list", "-w", "json"]),
            equal_hashes(self._survivors, pins, pods),
        )
        wrong = [f"{pod} reports {s.errors}" for pod, s in zip(pods, statuses, strict=True) if s.errors]
        if len({status.leader_id for status in statuses}) != 1:
            wrong.append("the members do not agree on a leader")
        if alarms := parse_alarms(output_of("etcdctl alarm list", answer)):
            wrong.append(f"alarms: {[f'{alarm.member_id} {alarm.alarm}' for alarm in alarms]}")
        return wrong + hashes

    async def _objects(self, pins: Pins) -> list[str]:
        wrong = []
        stateful_set = await read_stateful_set(self._tools, pins)
        if flag_of(stateful_set, pins) != pins.flag.original:
            wrong.append(f"the flag of the template is {flag_of(stateful_set, pins)!r}")
        for pod in await pods_of(self._tools, stateful_set):
            if flag_in_pod(pod, pins) != flag_of(stateful_set, pins):
                wrong.append(f"pod {pod['metadata']['name']} carries {flag_in_pod(pod, pins)!r}")
        if await self._tools.cluster.get(POD, self._utility.name(pins), pins.user_cluster) is not None:
            wrong.append("the utility Pod is still there")
        node = await self._tools.cluster.get(NODE, pins.node)
        if node is not None and HOLDER_PREFIX + pins.user_cluster in cordon_holders(node):
            wrong.append(f"node {pins.node} is still cordoned for {pins.user_cluster}")
        return wrong
