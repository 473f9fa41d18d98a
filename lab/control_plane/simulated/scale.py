"""The scale subresource: a StatefulSet's number of replicas, read and written by itself (`kubectl scale`)."""

from __future__ import annotations

from typing import Any

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.errors import no_such_path
from lab.control_plane.simulated.request import Target
from lab.control_plane.simulated.resources import SCALABLE

Json = dict[str, Any]


def read_scale(cluster: Cluster, target: Target) -> Json:
    """Return an object's Scale."""
    if target.resource.plural not in SCALABLE:
        raise no_such_path()
    obj = cluster.get(target.resource, target.namespace, target.name)
    metadata = {
        key: obj["metadata"][key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    labels = obj["spec"]["selector"].get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": obj["spec"]["replicas"]},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def write_scale(cluster: Cluster, target: Target, scale: Json, *, dry_run: bool) -> Json:
    """Take over the number of replicas from a Scale; its resourceVersion is a condition."""
    obj = cluster.get(target.resource, target.namespace, target.name)
    metadata = {**obj["metadata"], "resourceVersion": scale["metadata"].get("resourceVersion", "")}
    spec = {**obj["spec"], "replicas": int(scale["spec"].get("replicas", 0))}
    draft = {**obj, "metadata": metadata, "spec": spec}
    cluster.update(target.resource, target.namespace, target.name, draft, dry_run=dry_run)
    return scale if dry_run else read_scale(cluster, target)
