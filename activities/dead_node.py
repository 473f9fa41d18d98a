"""A node that does not answer: its pod is deleted by force only on a person's word, and only while the word holds.

Force-deletion removes the object at once, and the old process may still run on the same data: only somebody who
knows that the machine is off may ask for it (docs/contract.md, One node, many user clusters).
"""

from activities.fencing import Attempt, fenced
from activities.step import Toolbox, step, tell
from replace_etcd.cluster import LEASE, NODE, POD, Object
from replace_etcd.errors import Moved
from replace_etcd.models.orders import Done, NodeDownOrder
from replace_etcd.models.plan import Pins

NODE_LEASES = "kube-node-lease"
PLACED_SECONDS = 180.0


class DeadNodeActivities:
    """The step that acts on the pod of a dead node."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def delete_pod_of_dead_node(self, order: NodeDownOrder) -> Done:
        """Delete the pinned pod by its uid, without grace, and wait until its successor has a node.

        Done where the pod is gone and its successor has a node. `Moved` where the node shows a sign of life
        since the word was given, is another one, or the volume could not follow.
        """
        pins = order.pins
        async with fenced(self._tools, order) as attempt:
            if not pins.volume_can_move:
                raise Moved(f"the volume of {pins.replica} is bound to {pins.node}: only its return helps")
            await self._must_still_be_silent(pins)
            await self._delete(attempt, pins)
            tell(f"waiting until the successor of {pins.replica} has a node")
            placed = await self._tools.cluster.wait_for(
                POD,
                pins.replica,
                pins.user_cluster,
                lambda pod: (
                    pod is not None
                    and pod["metadata"]["uid"] != pins.pod_uid
                    and bool(pod["spec"].get("nodeName"))
                ),
                seconds=PLACED_SECONDS,
            )
        where = placed["spec"]["nodeName"] if placed else "nowhere"
        return Done(note=f"{order.by} stands for it that {pins.node} is off; {pins.replica} is on {where}")

    async def _delete(self, attempt: Attempt, pins: Pins) -> None:
        """An attempt whose answer was lost has let its successor come: that one is not meant."""
        pod = await self._tools.cluster.get(POD, pins.replica, pins.user_cluster)
        if pod is not None and pod["metadata"]["uid"] == pins.pod_uid:
            await attempt.hold()
            await self._tools.cluster.delete(POD, pins.replica, pins.user_cluster, uid=pins.pod_uid, grace=0)

    async def _must_still_be_silent(self, pins: Pins) -> None:
        node = await self._tools.cluster.get(NODE, pins.node)
        if node is None or node["metadata"]["uid"] != pins.node_uid:
            raise Moved(f"node {pins.node} is not the one of the plan any more")
        lease = await self._tools.cluster.get(LEASE, pins.node, NODE_LEASES)
        if node_is_ready(node) or last_sign_of_life(lease) != pins.node_lease:
            raise Moved(f"node {pins.node} has shown a sign of life: the word that it is off is void")


def node_is_ready(node: Object) -> bool:
    """The Ready condition of a node."""
    conditions = node.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def last_sign_of_life(lease: Object | None) -> str:
    """When the node last renewed its Lease, as the API server writes it; empty where there is none."""
    return str(lease["spec"].get("renewTime", "")) if lease else ""
