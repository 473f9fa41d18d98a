"""Reading and writing what a pod's status says: phase, conditions, whether it counts as ready."""

from __future__ import annotations

from typing import Any

from lab.control_plane.simulated.clock import seconds_since, timestamp

Json = dict[str, Any]

FINISHED = ("Succeeded", "Failed")
"""Phases in which no container will run any more: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/"""


def condition(obj: Json, kind: str) -> Json | None:
    """Return one condition of an object's status."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((entry for entry in found if entry["type"] == kind), None)


def phase(pod: Json) -> str:
    """The pod's phase; empty for one that was not created yet."""
    text: str = (pod.get("status") or {}).get("phase", "")
    return text


def is_ready(pod: Json) -> bool:
    """Whether the condition Ready is true."""
    found = condition(pod, "Ready")
    return found is not None and found["status"] == "True"


def is_available(pod: Json, seconds: int) -> bool:
    """Whether it has been ready for this long."""
    found = condition(pod, "Ready")
    if found is None or found["status"] != "True":
        return False
    since = found.get("lastTransitionTime")
    return seconds == 0 or (since is not None and seconds_since(since) >= seconds)


def is_terminating(obj: Json) -> bool:
    """Whether it is marked for deletion."""
    return "deletionTimestamp" in obj["metadata"]


def set_condition(obj: Json, kind: str, status: str, **fields: str) -> None:
    """Set a condition in place; its transition time moves only when the status does."""
    conditions = obj.setdefault("status", {}).setdefault("conditions", [])
    found = next((entry for entry in conditions if entry["type"] == kind), None)
    since = found.get("lastTransitionTime") if found and found["status"] == status else timestamp()
    entry = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since, **fields}
    if found is None:
        conditions.append(entry)
    else:
        conditions[conditions.index(found)] = entry


def controller_of(obj: Json) -> Json | None:
    """The owner reference of the controller that manages this object."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)
