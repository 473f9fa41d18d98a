"""Deletion: preconditions, grace for pods, finalizers, and what becomes of the dependents.

A pod on a node is only marked; its kubelet ends the processes and then deletes it with grace 0. A pod that no
node has, or that has ended, goes at once. A later deletion can shorten the grace and never lengthen it.
"""

from __future__ import annotations

import copy
from typing import Any

from lab.control_plane.simulated.clock import timestamp
from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.errors import precondition_failed, success
from lab.control_plane.simulated.pod_status import FINISHED, phase
from lab.control_plane.simulated.resources import Resource

Json = dict[str, Any]

PROPAGATION_FINALIZER = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
PRECONDITIONS = (
    ("uid", "UID", "The object might have been deleted and then recreated"),
    ("resourceVersion", "ResourceVersion", "The object might have been modified"),
)
RETURNED_WHOLE = ("pods", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts")


def delete(
    cluster: Cluster,
    resource: Resource,
    namespace: str,
    name: str,
    options: Json | None = None,
    *,
    dry_run: bool = False,
) -> Json:
    """Delete an object, or mark it for deletion; return what the API server answers."""
    options = options or {}
    found = cluster.get(resource, namespace, name)
    check_preconditions(resource, found, options)
    marked = _mark(resource, found, options)
    waits = _must_wait(resource, marked)
    if dry_run:
        return marked
    if not waits:
        gone = cluster.store.remove(resource, namespace, name)
        whole = resource.qualified in RETURNED_WHOLE
        return gone if whole else success(resource, name, found["metadata"]["uid"])
    if marked["metadata"] == found["metadata"] and marked.get("status") == found.get("status"):
        return found
    return cluster.store.put(resource, marked)


def check_preconditions(resource: Resource, found: Json, options: Json) -> None:
    """Refuse when the uid or the resourceVersion that the caller means is another: 409."""
    wanted = options.get("preconditions") or {}
    metadata = found["metadata"]
    for field, label, why in PRECONDITIONS:
        value = wanted.get(field)
        if value and value != metadata[field]:
            text = f"the {label} in the precondition ({value}) does not match the {label} in record"
            raise precondition_failed(resource, metadata["name"], f"{text} ({metadata[field]}). {why}")


def _mark(resource: Resource, found: Json, options: Json) -> Json:
    marked = copy.deepcopy(found)
    metadata = marked["metadata"]
    finalizer = PROPAGATION_FINALIZER.get(options.get("propagationPolicy", ""))
    if finalizer and finalizer not in metadata.setdefault("finalizers", []):
        metadata["finalizers"].append(finalizer)
    grace = _grace(found, options) if resource.qualified == "pods" else 0
    if "deletionTimestamp" not in metadata:
        if "generation" in metadata:
            metadata["generation"] += 1
        metadata["deletionTimestamp"] = timestamp(later=grace)
        metadata["deletionGracePeriodSeconds"] = grace
    elif options.get("gracePeriodSeconds") is not None and grace < metadata["deletionGracePeriodSeconds"]:
        metadata["deletionTimestamp"] = timestamp(later=grace)
        metadata["deletionGracePeriodSeconds"] = grace
    if resource.qualified == "namespaces":
        marked["status"] = {**marked.get("status", {}), "phase": "Terminating"}
    return marked


def _must_wait(resource: Resource, marked: Json) -> bool:
    metadata = marked["metadata"]
    if resource.qualified == "namespaces" and marked["spec"].get("finalizers"):
        return True
    return bool(metadata.get("finalizers")) or metadata["deletionGracePeriodSeconds"] > 0


def _grace(pod: Json, options: Json) -> int:
    spec = pod["spec"]
    if not spec.get("nodeName") or phase(pod) in FINISHED:
        return 0
    wanted = options.get("gracePeriodSeconds")
    grace: int = spec.get("terminationGracePeriodSeconds", 30) if wanted is None else wanted
    return 1 if grace < 0 else grace
