"""A file with every write, so that the objects outlive the process: it can be killed and started again.

It plays etcd's write-ahead log. Nothing is synced to disk: the machine is not expected to fail, only the process.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.resources import custom_resource
from lab.control_plane.simulated.store import Change, Store

Json = dict[str, Any]


class Journal:
    """Appends one line for each write."""

    def __init__(self, path: Path, store: Store) -> None:
        self._file = path.open("a", buffering=1)
        store.subscribe(self._write)

    def _write(self, change: Change) -> None:
        entry = {
            "revision": change.revision,
            "resource": change.resource.key,
            "gone": change.type == "DELETED",
        }
        self._file.write(json.dumps(entry | {"object": change.object}) + "\n")


def replay(path: Path, cluster: Cluster) -> None:
    """Bring the objects back, and begin their history anew: watches from before must list again."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            entry: Json = json.loads(line)
        except ValueError:
            break  # the process was killed while it wrote the last line
        _restore(cluster, entry)
    for resource in cluster.catalogue:
        cluster.store.begin_history(resource)


def _restore(cluster: Cluster, entry: Json) -> None:
    group, plural = entry["resource"]
    resource = cluster.catalogue.by_plural(plural, group)
    cluster.store.restore(resource, entry["object"], entry["revision"], gone=entry["gone"])
    if plural == "customresourcedefinitions" and (custom := custom_resource(entry["object"])):
        if entry["gone"]:
            cluster.catalogue.remove(custom)
        else:
            cluster.catalogue.add(custom)
