"""Preflight: the state of the failed pod's node, and whether the pod could start on another one meanwhile.

A node that is not Ready is no failed member (its etcd may serve on), and no obstacle by itself: the run then asks
whether the machine is off. And a volume that can move lets the evicted pod start elsewhere on data that is about to
go, unless the utility Pod holds it in its place.
"""

from datetime import UTC, datetime

from activities.dead_node import NODE_LEASES, last_sign_of_life, node_is_ready
from activities.preflight_checks import Looks
from activities.side_by_side import side_by_side
from replace_etcd.cluster import LEASE, NODE, POD, VOLUME, Object
from replace_etcd.scheduling import obstacles, soft_anti_affinity, volume_fits


async def look_at_readiness(looks: Looks) -> None:
    """Ready or not, with the condition, the taints, and how long ago its kubelet renewed the lease."""
    node = looks.node
    name = node["metadata"]["name"]
    conditions = node.get("status", {}).get("conditions") or []
    ready: Object = next((c for c in conditions if c["type"] == "Ready"), {})
    looks.node_ready = node_is_ready(node)
    lease = await looks.tools.cluster.get(LEASE, name, NODE_LEASES)
    taints = ", ".join(f"{t['key']}:{t['effect']}" for t in node["spec"].get("taints") or [])
    since = ready.get("lastTransitionTime", "an unknown time")
    evidence = f"{name} is {'Ready' if looks.node_ready else 'not Ready'} since {since}, {renewed(lease)}"
    evidence += f", taints: {taints}" if taints else ""
    if looks.node_ready:
        looks.findings.ok("node", evidence)
        return
    looks.node_lease = last_sign_of_life(lease)  # moves all the time on a node that is Ready: no pin there
    way_out = (
        "bring it back; where the machine is off for good, the run holds until confirm_node_down says so:"
        " its etcd may serve on as long as it has power"
    )
    looks.findings.warn("node", f"{evidence}; {ready.get('message', 'it reports nothing')}", way_out)


def renewed(lease: Object | None) -> str:
    """How long ago a node's kubelet gave a sign of life."""
    time = last_sign_of_life(lease)
    if not time:
        return "without a lease"
    age = datetime.now(UTC) - datetime.fromisoformat(time)
    return f"lease renewed {age.total_seconds():.0f} s ago"


async def look_elsewhere(looks: Looks) -> None:
    """Which other nodes could take the failed pod once it is evicted."""
    cluster = looks.tools.cluster
    pod, own = looks.pods[looks.replica], looks.node["metadata"]["name"]
    volume_name = looks.claim.get("spec", {}).get("volumeName")
    nodes, pods = await side_by_side(cluster.find(NODE), cluster.find(POD, looks.namespace))
    volume = await cluster.get(VOLUME, volume_name) if volume_name else None
    others = [other for other in pods if other["metadata"]["uid"] != pod["metadata"]["uid"]]
    elsewhere = [node for node in nodes if node["metadata"]["name"] != own]
    looks.volume_can_move = volume is None or any(volume_fits(volume, node) for node in elsewhere)
    kept = {node["metadata"]["name"]: obstacles(pod, node, volume, others, nodes) for node in elsewhere}
    _report(looks, kept, soft=soft_anti_affinity(pod))


def _report(looks: Looks, kept: dict[str, list[str]], *, soft: bool) -> None:
    own = looks.node["metadata"]["name"]
    free = [name for name, reasons in kept.items() if not reasons]
    hint = "; its anti-affinity is no requirement" if soft else ""
    if free:
        evidence = f"once evicted it could start on {', '.join(free)}{hint}"
        if looks.node_ready and not looks.is_removed:
            # It would, within a second, with `existing` and while its old member is listed: a certain roll-back.
            way_out = f"keep it off for the time being: kubectl cordon {' '.join(free)}, then start again"
            looks.findings.refuse("start elsewhere", evidence, way_out)
        else:
            way_out = "nothing is wiped if it starts elsewhere"
            looks.findings.warn("start elsewhere", evidence, way_out)
        return
    reasons = "; ".join(f"{name}: {', '.join(why)}" for name, why in kept.items()) or "there is no other node"
    looks.findings.ok("start elsewhere", f"it can only start on {own} ({reasons}){hint}")
