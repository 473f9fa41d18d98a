"""Steps 4 and 9 of the runbook: cordon, evict the failed pod, drain the rest of the node, uncordon.

A cordon has holders, an annotation each, so that two replacements on one node do not undo each other. A node that
somebody else had cordoned is refused: the new member could not start on it (docs/contract.md, Fencing, 5).
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from temporalio import activity

from activities.drain import Drain
from activities.fencing import Attempt, fenced
from activities.guarded_patch import guarded_patch
from activities.recheck import Moment, must_hold_still
from activities.side_by_side import side_by_side
from activities.step import Toolbox, step, tell
from activities.survivors import LAST_PROBE_SECONDS, Survivors
from replace_etcd.cluster import NODE, POD, Object, Patch
from replace_etcd.errors import ClusterError, Forbidden, Invalid, Moved, NotYet
from replace_etcd.models.orders import Done, DrainOrder, EvictionOrder, NodeTaken, Order, UncordonOrder
from replace_etcd.models.plan import Pins

HOLDER_PREFIX = "replace-etcd/cordon."
EXCLUSIVE = "replace-etcd/exclusive"  # the user cluster whose replacement has the node for itself
EVICTED_SECONDS = 45.0
SEEN_SECONDS = 10.0
WATCH_SECONDS = 60.0


async def must_be_cordoned(tools: Toolbox, pins: Pins) -> None:
    """`Moved` where somebody made the node schedulable again: the member could start on data that is about to go."""
    node = await tools.cluster.get(NODE, pins.node)
    if node is not None and not node["spec"].get("unschedulable"):
        raise Moved(f"somebody uncordoned {pins.node}")


async def must_be_unscheduled(tools: Toolbox, pins: Pins) -> None:
    """`Moved` where the evicted pod's successor has a node: it would run on data that is about to go."""
    pod = await tools.cluster.get(POD, pins.replica, pins.user_cluster)
    if pod is not None and pod["spec"].get("nodeName"):
        raise Moved(f"pod {pins.replica} is on {pod['spec']['nodeName']} in spite of the cordon")


async def keep_cordoned(tools: Toolbox, attempt: Attempt, pins: Pins) -> None:
    """Cordon the node again where somebody made it schedulable: nothing may start on data that is about to go."""
    holder = HOLDER_PREFIX + pins.user_cluster

    def decide(node: Object | None) -> Patch:
        if node is None or node["metadata"]["uid"] != pins.node_uid:
            return []
        return cordon(node, holder, adopt=True)[0]

    await guarded_patch(tools, attempt, NODE, pins.node, None, change=decide)


class NodeActivities:
    """Steps that act on the node of the failed replica."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._survivors = Survivors(tools)

    @step
    async def take_node(self, order: Order) -> NodeTaken:
        """Have the node for this replacement alone, by compare-and-swap; waits while another one has it.

        It is given up with the cordon. Done where this user cluster has it already.
        """
        pins, waited = order.pins, False
        async with fenced(self._tools, order) as attempt:
            while (other := await self._take(attempt, pins)) != pins.user_cluster:
                waited = True
                tell(f"waiting for {pins.node}: the replacement of {other} has it")
                with suppress(NotYet):
                    await self._tools.cluster.wait_for(
                        NODE, pins.node, None, lambda node: holder_of(node) != other, seconds=WATCH_SECONDS
                    )
        return NodeTaken(waited=waited, note="waited for another replacement" if waited else "")

    @step
    async def cordon_node(self, order: Order) -> Done:
        """Mark the node unschedulable, with this user cluster as a holder; done where it holds already."""
        ours = partial(cordon, adopt=order.pins.cordon_is_ours)
        async with fenced(self._tools, order) as attempt:
            return Done(note=await self._patch(attempt, order.pins, ours))

    @step
    async def uncordon_node(self, order: UncordonOrder) -> Done:
        """Leave the holders; the last one to leave makes the node schedulable, if it was so before.

        On the way forward the node stays ours alone until the new member's pod was restarted: under the cordon of
        the next replacement it would not come back, and its voter be missing. Whoever goes on with what another run
        has begun gives up every node that the user cluster has: the pod may have moved, which a reset has forgotten.
        """
        async with fenced(self._tools, order) as attempt:
            leave = partial(uncordon, alone=order.keeps_it)
            note = await self._patch(attempt, order.pins, leave, leaves=True)
            if order.fence.goes_on and not order.keeps_it:
                note += await self._give_up_others(attempt, order.pins)
        return Done(note=note)

    @step
    async def watch_failed_member(self, order: Order) -> Done:
        """Probe the failed member again and again, while the budget still stands; read-only.

        `Recovered` where it answers, `Moved` where a survivor fails.
        """
        await self._survivors.must_still_fail(order.pins, seconds=self._tools.settings.failure_probe_seconds)
        return Done(note=f"{order.pins.member_name} did not answer")

    @step
    async def evict_failed_pod(self, order: EvictionOrder) -> Done:
        """Evict the failed pod by its uid, after it was seen to fail once more; done when the eviction is accepted.

        `Recovered` where the member answers again, `Moved` where anything else is not as in the plan any more.
        """
        pins = order.pins
        async with fenced(self._tools, order) as attempt:
            if seen_just_now(order.seen_to_fail_at, datetime.now(UTC), activity.info().attempt):
                await side_by_side(  # the budget is away
                    self._survivors.must_be_silent(pins, seconds=LAST_PROBE_SECONDS),
                    must_hold_still(self._tools, self._survivors, pins, moment=Moment.EVICTION),
                )
            else:
                await self._survivors.must_still_fail(
                    pins, seconds=self._tools.settings.failure_probe_seconds
                )
                await must_hold_still(self._tools, self._survivors, pins, moment=Moment.EVICTION)
            await attempt.hold()
            try:
                eviction = await self._tools.cluster.evict(
                    pins.user_cluster,
                    pins.replica,
                    uid=pins.pod_uid,
                    grace=self._tools.settings.eviction_grace_seconds,
                )
            except ClusterError as error:
                if error.status != 409:
                    raise
                return await self._someone_evicted(pins)
            if not eviction.admitted and pins.is_removed:
                # The budget that protects the survivors now would protect the removed member's pod for ever.
                await self._tools.cluster.delete(
                    POD,
                    pins.replica,
                    pins.user_cluster,
                    uid=pins.pod_uid,
                    grace=self._tools.settings.eviction_grace_seconds,
                )
            elif not eviction.admitted:
                raise ClusterError(eviction.status, "TooManyRequests", eviction.reason)
        return Done(
            note="it was gone already" if eviction.gone else f"pod {pins.replica}, uid {pins.pod_uid}"
        )

    @step
    async def drain_node(self, order: DrainOrder) -> Done:
        """Evict the rest of the node with kubectl's rules; pods that are gone are done.

        Another etcd pod is never evicted. `DrainBlocked` where a pod may not be evicted at all; a budget that
        blocks one is waited for, as kubectl does.
        """
        async with fenced(self._tools, order) as attempt:
            drain = Drain(self._tools, order, attempt)
            evicted = await drain.run()
        return Done(note=f"evicted: {', '.join(evicted) or 'none'}")

    @step
    async def wait_until_failed_pod_is_gone(self, order: Order) -> Done:
        """Wait until the evicted pod has ended; read-only.

        The volume must be free before it is wiped. A successor need not be there (none is made while its claim is being
        deleted, which is noticed before the removal); `Moved` where one has been given a node.
        """
        pins = order.pins
        tell(f"waiting until pod {pins.replica} ({pins.pod_uid}) has ended")
        await self._tools.cluster.wait_for(
            POD,
            pins.replica,
            pins.user_cluster,
            lambda pod: pod is None or pod["metadata"]["uid"] != pins.pod_uid,
            seconds=EVICTED_SECONDS,
        )
        await must_be_unscheduled(self._tools, pins)
        return Done()

    async def _take(self, attempt: Attempt, pins: Pins) -> str:
        """Put our name on the node if there is none; returns whose name is there."""

        def decide(node: Object | None) -> Patch:
            if node is None or node["metadata"]["uid"] != pins.node_uid:
                raise Moved(f"node {pins.node} is not the one of the plan")
            if holder_of(node):
                return []
            annotations = {**(node["metadata"].get("annotations") or {}), EXCLUSIVE: pins.user_cluster}
            return [{"op": "add", "path": "/metadata/annotations", "value": annotations}]

        return holder_of(await guarded_patch(self._tools, attempt, NODE, pins.node, None, change=decide))

    async def _someone_evicted(self, pins: Pins) -> Done:
        """409: another pod has the name. It is a successor that carries `existing`, or the world has moved."""
        pod = await self._tools.cluster.get(POD, pins.replica, pins.user_cluster)
        if pod is not None and pod["metadata"]["uid"] == pins.pod_uid:
            raise Moved(f"the eviction of pod {pins.replica} was refused as a conflict")
        return Done(note="the pod of the plan is gone already")

    async def _give_up_others(self, attempt: Attempt, pins: Pins) -> str:
        """The other nodes that this user cluster's replacement has: this one's, since there is one at a time."""
        notes = ""
        for node in await self._tools.cluster.find(NODE):
            name, uid = node["metadata"]["name"], node["metadata"]["uid"]
            held = HOLDER_PREFIX + pins.user_cluster in cordon_holders(node)
            if name == pins.node or not (held or holder_of(node) == pins.user_cluster):
                continue
            try:
                await give_node_up(
                    self._tools, attempt, pins.model_copy(update={"node": name, "node_uid": uid})
                )
            except (Forbidden, Invalid) as error:  # it must not keep the rest from going back
                notes += f"; {name} cannot be given up: {error}"
            else:
                notes += f"; {name} is given up, too"
        return notes

    async def _patch(
        self,
        attempt: Attempt,
        pins: Pins,
        change: Callable[[Object, str], tuple[Patch, str]],
        *,
        leaves: bool = False,
    ) -> str:
        """Patch the node; one that is not the one of the plan any more can only be left."""
        note = ""

        def decide(node: Object | None) -> Patch:
            nonlocal note
            if node is None or node["metadata"]["uid"] != pins.node_uid:
                if not leaves:
                    raise Moved(f"node {pins.node} is not the one of the plan")
                note = "moot: the node is not there any more"
                return []
            operations, note = change(node, HOLDER_PREFIX + pins.user_cluster)
            return operations

        await guarded_patch(self._tools, attempt, NODE, pins.node, None, change=decide)
        return note


def seen_just_now(seen: datetime | None, now: datetime, attempt: int) -> bool:
    """Whether the step before has watched the member fail so lately that one more probe renews the verdict.

    Not for a retry, nor after a pause (no worker, a busy one): then it is watched anew, for the whole time.
    """
    return seen is not None and attempt == 1 and abs((now - seen).total_seconds()) < SEEN_SECONDS


def cordon_holders(node: Object) -> dict[str, str]:
    """The annotations of the replacements that hold a node's cordon."""
    annotations = node["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key.startswith(HOLDER_PREFIX)}


def holder_of(node: Object | None) -> str:
    """The user cluster whose replacement has the node for itself; empty where none has."""
    return str(((node or {"metadata": {}})["metadata"].get("annotations") or {}).get(EXCLUSIVE, ""))


def cordon(node: Object, holder: str, *, adopt: bool = False) -> tuple[Patch, str]:
    """The patch that makes `holder` hold the cordon; empty where it does.

    A cordon that nobody holds is somebody else's, and refused, unless the plan says to `adopt` it.
    """
    holders = cordon_holders(node)
    unschedulable = bool(node["spec"].get("unschedulable"))
    if holder in holders:
        # Somebody uncordoned it by hand meanwhile: the cordon is asserted again.
        return ([] if unschedulable else [_unschedulable(True)]), "held already"
    if unschedulable and not holders and not adopt:
        raise Moved(
            f"somebody else cordoned {node['metadata']['name']}: the new member could not start there"
        )
    annotations = {**(node["metadata"].get("annotations") or {}), holder: "cordoned"}
    operations: Patch = [{"op": "add", "path": "/metadata/annotations", "value": annotations}]
    if not unschedulable:
        operations.append(_unschedulable(True))
    return (
        operations,
        "cordoned" if not unschedulable else f"cordoned with {', '.join(holders) or 'a person'}",
    )


async def give_node_up(tools: Toolbox, attempt: Attempt, pins: Pins) -> None:
    """Let the next replacement have the node; one that is not ours, or is gone, is left."""
    holder = HOLDER_PREFIX + pins.user_cluster

    def decide(node: Object | None) -> Patch:
        return [] if node is None or node["metadata"]["uid"] != pins.node_uid else uncordon(node, holder)[0]

    await guarded_patch(tools, attempt, NODE, pins.node, None, change=decide)


def uncordon(node: Object, holder: str, *, alone: bool = False) -> tuple[Patch, str]:
    """The patch that gives the node up: `holder` leaves, and the last one makes it schedulable, if it was so before.

    With `alone` it can be used again, and no other replacement has it yet.
    """
    holders = cordon_holders(node)
    annotations = node["metadata"].get("annotations") or {}
    user_cluster = holder.removeprefix(HOLDER_PREFIX)
    given_up = {holder} | (set() if alone or annotations.get(EXCLUSIVE) != user_cluster else {EXCLUSIVE})
    kept = {key: value for key, value in annotations.items() if key not in given_up}
    if kept == annotations:
        return [], "not held"
    operations: Patch = [{"op": "add", "path": "/metadata/annotations", "value": kept}]
    if others := sorted(set(holders) - {holder}):
        return operations, f"still cordoned for {', '.join(others)}"
    if holder not in holders:
        return operations, "not cordoned by this replacement"
    if node["spec"].get("unschedulable"):
        operations.append(_unschedulable(False))
    return operations, "schedulable again"


def _unschedulable(value: bool) -> dict[str, object]:
    if value:
        return {"op": "add", "path": "/spec/unschedulable", "value": True}
    return {"op": "remove", "path": "/spec/unschedulable"}
