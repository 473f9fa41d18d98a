"""The node lifecycle controller: what the cluster makes of a node's silence, and of what the node says.

A node whose lease is not renewed becomes Unknown, its pods lose Ready, and it is tainted. The processes on it may
well run on: nothing here knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.control_plane.simulated.clock import seconds_since, timestamp
from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.controllers.recorder import record
from lab.control_plane.simulated.pod_status import condition, is_ready, set_condition
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]

SOURCE = "node-controller"
LEASES = "kube-node-lease"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OURS = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)
SILENT = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


class NodeLifecycleController(Controller):
    """Keys are names of nodes."""

    def __init__(self, cluster: Cluster, grace: float) -> None:
        super().__init__(cluster)
        self._grace = grace

    def keys(self, change: Change) -> Iterable[str]:
        """Look at a node when it or its lease changes, and at all when one becomes ready or ceases to be."""
        if change.resource.qualified == "leases.coordination.k8s.io" and change.namespace == LEASES:
            yield change.name
        if change.resource.qualified != "nodes":
            return
        if change.type != "DELETED":
            yield change.name
        if change.type == "DELETED" or is_ready(change.object) != is_ready(change.previous or {}):
            yield from (node["metadata"]["name"] for node in self.store.list(change.resource))

    def sync(self, name: str) -> float | None:
        """Judge a node's silence, then its taints."""
        nodes = self.cluster.resource("nodes")
        node = self.store.get(nodes, "", name)
        if node is None:
            return None
        silence = self._silence(node)
        ready = condition(node, "Ready")
        if silence >= self._grace and (ready is None or ready["status"] != "Unknown"):
            self._declare_unknown(node)
            self._pods_not_ready(name)
            node = self.cluster.get(nodes, "", name)
        self._taint(node)
        return max(0.1, self._grace - silence) if silence < self._grace else None

    def _silence(self, node: Json) -> float:
        """Seconds since the node was last heard of: its lease, its status, its creation."""
        leases = self.cluster.resource("leases", "coordination.k8s.io")
        lease = self.store.get(leases, LEASES, node["metadata"]["name"])
        ready = condition(node, "Ready") or {}
        heard = [
            node["metadata"]["creationTimestamp"],
            ready.get("lastHeartbeatTime"),
            lease["spec"].get("renewTime") if lease else None,
        ]
        return min(seconds_since(moment) for moment in heard if moment)

    def _declare_unknown(self, node: Json) -> None:
        def edit(draft: Json) -> None:
            heard = (condition(draft, "Ready") or {}).get("lastHeartbeatTime", timestamp())
            for kind in ("Ready", *PRESSURES):
                set_condition(draft, kind, "Unknown", **SILENT)
            for entry in draft["status"]["conditions"]:
                entry.pop("lastProbeTime", None)
                entry["lastHeartbeatTime"] = heard

        self.cluster.change(self.cluster.resource("nodes"), node, edit, status=True)
        name = node["metadata"]["name"]
        record(self.cluster, node, "NodeNotReady", f"Node {name} status is now: NodeNotReady", SOURCE)

    def _taint(self, node: Json) -> None:
        """Keep the taints that follow from the node's condition and from its cordon; leave all others alone."""
        present = node.get("spec", {}).get("taints") or []
        others = [taint for taint in present if taint["key"] not in OURS]
        anybody_ready = any(is_ready(found) for found in self.store.list(self.cluster.resource("nodes")))
        due = _due_taints(node, evict=anybody_ready)
        wanted = others + [self._as_before(present, taint) for taint in due]
        if _order(present) == _order(wanted):
            return

        def edit(draft: Json) -> None:
            draft.setdefault("spec", {})["taints"] = wanted
            if not wanted:
                del draft["spec"]["taints"]

        self.cluster.change(self.cluster.resource("nodes"), node, edit)

    def _as_before(self, present: list[Json], wanted: Json) -> Json:
        """Keep the time at which a taint was added."""
        same = (
            found for found in present if (found["key"], found["effect"]) == (wanted["key"], wanted["effect"])
        )
        return next(same, {**wanted, "timeAdded": timestamp()})

    def _pods_not_ready(self, node: str) -> None:
        """Take Ready from the pods of a node that fell silent; one that says NotReady does so itself."""
        pods = self.cluster.resource("pods")
        for pod in self.store.list(pods):
            if pod["spec"].get("nodeName") == node and is_ready(pod):
                self.cluster.change(
                    pods, pod, lambda draft: set_condition(draft, "Ready", "False"), status=True
                )
                record(self.cluster, pod, "NodeNotReady", "Node is not ready", SOURCE, warning=True)


def _due_taints(node: Json, *, evict: bool) -> Iterable[Json]:
    """Say which taints a node must have; where no node at all is ready, nothing is evicted from any."""
    ready = condition(node, "Ready")
    if ready is not None and ready["status"] != "True":
        key = UNREACHABLE if ready["status"] == "Unknown" else NOT_READY
        yield {"key": key, "effect": "NoSchedule"}
        if evict:
            yield {"key": key, "effect": "NoExecute"}
    if node.get("spec", {}).get("unschedulable"):
        yield {"key": UNSCHEDULABLE, "effect": "NoSchedule"}


def _order(taints: list[Json]) -> list[tuple[str, str]]:
    return sorted((taint["key"], taint["effect"]) for taint in taints)
