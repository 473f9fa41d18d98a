"""The scheduler: binds a pod to a node that every filter admits, or says on the pod why none does.

Of several nodes it takes the one with the fewest pods. A pod that fits nowhere is looked at again when
anything that could help has changed, as by the real one's queueing hints
(https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/#queueinghint).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.controllers.placement import Situation, UnboundError, refusal, situation
from lab.control_plane.simulated.controllers.recorder import record
from lab.control_plane.simulated.operations import bind
from lab.control_plane.simulated.pod_status import FINISHED, condition, is_terminating, phase, set_condition
from lab.control_plane.simulated.selectors import labels_of
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]

HINT = "Preemption is not helpful for scheduling."
SOURCE = "default-scheduler"
NOTHING: Json = {"metadata": {}}


class Scheduler(Controller):
    """Keys are (namespace, name) of pods that have no node."""

    def keys(self, change: Change) -> Iterable[tuple[str, str]]:
        """Look at a new pod, and at those that wait for what a node, a volume or another pod has become."""
        if change.resource.qualified == "pods" and change.type != "DELETED" and _waits(change.object):
            yield change.namespace, change.name
        elif (namespace := _helped(change)) is not None:
            for pod in self.store.list(self.cluster.resource("pods"), namespace):
                if _waits(pod):
                    yield pod["metadata"]["namespace"], pod["metadata"]["name"]

    def sync(self, key: tuple[str, str]) -> None:
        """Place one pod, or explain."""
        pod = self.store.get(self.cluster.resource("pods"), *key)
        if pod is None or not _waits(pod):
            return
        nodes = self.store.list(self.cluster.resource("nodes"))
        try:
            seen = situation(self.cluster, pod)
        except UnboundError as error:
            self._explain(pod, len(nodes), f"{error}.")
            return
        reasons = {node["metadata"]["name"]: refusal(seen, node) for node in nodes}
        possible = [name for name, reason in reasons.items() if reason is None]
        if possible:
            self._bind(pod, _least_used(seen, possible))
        else:
            counted = Counter(reason for reason in reasons.values() if reason)
            listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counted.items()))
            self._explain(pod, len(nodes), f"{listed}.")

    def _bind(self, pod: Json, node: str) -> None:
        metadata = pod["metadata"]
        bind(self.cluster, metadata["namespace"], metadata["name"], node)
        message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node}"
        record(self.cluster, pod, "Scheduled", message, SOURCE)

    def _explain(self, pod: Json, nodes: int, why: str) -> None:
        message = f"0/{nodes} nodes are available: {why}" if nodes else "no nodes available to schedule pods"
        if nodes:
            found = condition(pod, "PodScheduled")
            message += (
                f" no new claims to deallocate, preemption: 0/{nodes} nodes are available: {nodes} {HINT}"
            )
            if found is not None and found.get("message") == message:
                return
        about = {"reason": "Unschedulable", "message": message}
        self.cluster.change(
            self.cluster.resource("pods"),
            pod,
            lambda draft: set_condition(draft, "PodScheduled", "False", **about),
            status=True,
        )
        record(self.cluster, pod, "FailedScheduling", message, SOURCE, warning=True)


def _helped(change: Change) -> str | None:
    """The namespace in which a change can help a pod that waits, empty for all of them; None if it helps nobody."""
    before, after = change.previous or NOTHING, change.object
    if change.resource.qualified == "persistentvolumeclaims":
        return change.namespace
    if change.resource.qualified == "persistentvolumes":
        return (after["spec"].get("claimRef") or {}).get("namespace")
    if change.resource.qualified not in ("nodes", "pods"):
        return None
    helps = change.type == "DELETED" or labels_of(before) != labels_of(after)
    if change.resource.qualified == "nodes":
        helps = helps or before.get("spec") != after.get("spec")
    else:
        helps = helps or (phase(after) in FINISHED and phase(before) not in FINISHED)
    return "" if helps else None


def _waits(pod: Json) -> bool:
    spec = pod["spec"]
    ours = spec.get("schedulerName") == SOURCE and not spec.get("schedulingGates")
    return ours and not spec.get("nodeName") and not is_terminating(pod)


def _least_used(seen: Situation, names: list[str]) -> str:
    used = Counter(pod["spec"]["nodeName"] for pod in seen.placed)
    return min(names, key=lambda name: (used[name], name))
