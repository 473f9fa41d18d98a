"""Events: what controllers tell people about an object. A repeated one is counted, not written again."""

from __future__ import annotations

import time
from typing import Any

from lab.control_plane.simulated.clock import timestamp
from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.errors import StatusError

Json = dict[str, Any]


def record(
    cluster: Cluster, about: Json, reason: str, message: str, source: str, *, warning: bool = False
) -> None:
    """Write an event, or count it once more; a namespace that is going takes none."""
    events = cluster.resource("events")
    metadata = about["metadata"]
    namespace = metadata.get("namespace", "default")
    moment = timestamp()
    for event in cluster.store.list(events, namespace):
        same = (event["involvedObject"].get("uid"), event["reason"], event["message"])
        if same == (metadata["uid"], reason, message):
            seen = {"count": event.get("count", 1) + 1, "lastTimestamp": moment}
            cluster.change(events, event, lambda draft, seen=seen: draft.update(seen))  # type: ignore[misc]
            return
    body: Json = {
        "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}"},
        "involvedObject": _reference(about),
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "source": {"component": source},
        "reportingComponent": source,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
    try:
        cluster.create(events, namespace, body)
    except StatusError:
        return


def _reference(about: Json) -> Json:
    metadata = about["metadata"]
    reference = {"kind": about["kind"], "apiVersion": about["apiVersion"], "name": metadata["name"]}
    reference |= {"uid": metadata["uid"], "resourceVersion": metadata.get("resourceVersion", "")}
    if "namespace" in metadata:
        reference["namespace"] = metadata["namespace"]
    return reference
