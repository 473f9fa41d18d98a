"""Taint eviction: a pod that does not tolerate a NoExecute taint of its node, or not for ever, is deleted.

This is what marks the pods of an unreachable node for deletion after 300 s. They stay Terminating, since no
kubelet confirms; nobody asks a PodDisruptionBudget.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.controllers.recorder import record
from lab.control_plane.simulated.deletion import delete
from lab.control_plane.simulated.pod_status import is_terminating, set_condition
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]


class TaintEvictionController(Controller):
    """Keys are (namespace, name) of pods."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._since: dict[str, float] = {}  # by uid: when the taint was first seen with the pod

    def keys(self, change: Change) -> Iterable[tuple[str, str]]:
        """Look at a pod when it changes, and at all pods of a node when its taints do."""
        if change.resource.qualified == "pods" and change.type != "DELETED":
            yield change.namespace, change.name
        if change.resource.qualified == "nodes" and _taints(change.object) != _taints(change.previous or {}):
            for pod in self.store.list(self.cluster.resource("pods")):
                if pod["spec"].get("nodeName") == change.name:
                    yield pod["metadata"]["namespace"], pod["metadata"]["name"]

    def sync(self, key: tuple[str, str]) -> float | None:
        """Delete a pod whose time on its node is over; say when it will be."""
        pods = self.cluster.resource("pods")
        pod = self.store.get(pods, *key)
        if pod is None or is_terminating(pod) or not pod["spec"].get("nodeName"):
            return None
        node = self.store.get(self.cluster.resource("nodes"), "", pod["spec"]["nodeName"])
        patience = [_patience(pod, taint) for taint in _taints(node or {})]
        limits = [seconds for seconds in patience if seconds is not None]
        uid = pod["metadata"]["uid"]
        if not limits:
            self._since.pop(uid, None)
            return None
        since = self._since.setdefault(uid, time.monotonic())
        left = since + min(limits) - time.monotonic()
        if left > 0:
            return left
        del self._since[uid]
        self._evict(pod)
        return None

    def _evict(self, pod: Json) -> None:
        pods, metadata = self.cluster.resource("pods"), pod["metadata"]
        about = {
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
        }
        self.cluster.change(
            pods, pod, lambda draft: set_condition(draft, "DisruptionTarget", "True", **about), status=True
        )
        message = f"Marking for deletion Pod {metadata['namespace']}/{metadata['name']}"
        record(self.cluster, pod, "TaintManagerEviction", message, "taint-eviction-controller")
        delete(self.cluster, pods, metadata["namespace"], metadata["name"])


def tolerates(toleration: Json, taint: Json) -> bool:
    """Whether one toleration covers one taint."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    wanted = (toleration.get("key"), toleration.get("value", ""))
    return wanted == (taint["key"], taint.get("value", ""))


def _taints(node: Json) -> list[Json]:
    taints = (node.get("spec") or {}).get("taints") or ()
    return [taint for taint in taints if taint["effect"] == "NoExecute"]


def _patience(pod: Json, taint: Json) -> float | None:
    """How many seconds the pod stays in spite of the taint; None is for ever."""
    covering = [found for found in pod["spec"].get("tolerations", ()) if tolerates(found, taint)]
    if not covering:
        return 0.0
    limits = [found["tolerationSeconds"] for found in covering if found.get("tolerationSeconds") is not None]
    return float(min(limits)) if limits else None
