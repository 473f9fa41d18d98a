"""ControllerRevisions: the pod templates that a StatefulSet has had, told apart by content.

A template that returns to an earlier one gets that one's revision back, with a new number: this is why pods
that were never restarted match again once an edit is taken back.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lab.control_plane.simulated.cluster import NAME_ALPHABET, Cluster
from lab.control_plane.simulated.pod_status import controller_of

Json = dict[str, Any]
HASH_LENGTH = 10


def owned_revisions(cluster: Cluster, sts: Json) -> list[Json]:
    """List a StatefulSet's revisions, oldest number first."""
    metadata = sts["metadata"]
    found = cluster.store.list(cluster.resource("controllerrevisions", "apps"), metadata["namespace"])
    owned = [revision for revision in found if (controller_of(revision) or {}).get("uid") == metadata["uid"]]
    return sorted(owned, key=lambda revision: (revision["revision"], revision["metadata"]["name"]))


def current_and_update(cluster: Cluster, sts: Json) -> tuple[Json, Json]:
    """Return the revision that the set comes from and the one that its template is, creating what is missing."""
    revisions = owned_revisions(cluster, sts)
    update = _update_revision(cluster, sts, revisions)
    named = (sts.get("status") or {}).get("currentRevision")
    current = next((found for found in revisions if found["metadata"]["name"] == named), update)
    return current, update


def template_of(revision: Json) -> Json:
    """Return the pod template that a revision holds."""
    template: Json = revision["data"]["spec"]["template"]
    return {key: value for key, value in template.items() if key != "$patch"}


def truncate(cluster: Cluster, sts: Json, pods: list[Json], *live: Json) -> None:
    """Forget the oldest revisions that nothing uses, beyond the limit that the set allows."""
    in_use = {revision["metadata"]["name"] for revision in live}
    in_use |= {(pod["metadata"].get("labels") or {}).get("controller-revision-hash") for pod in pods}
    history = [found for found in owned_revisions(cluster, sts) if found["metadata"]["name"] not in in_use]
    resource = cluster.resource("controllerrevisions", "apps")
    for revision in history[: max(0, len(history) - sts["spec"]["revisionHistoryLimit"])]:
        cluster.store.remove(resource, revision["metadata"]["namespace"], revision["metadata"]["name"])


def _update_revision(cluster: Cluster, sts: Json, revisions: list[Json]) -> Json:
    resource = cluster.resource("controllerrevisions", "apps")
    template = sts["spec"]["template"]
    equal = [found for found in revisions if template_of(found) == template]
    if equal and equal[-1] is revisions[-1]:
        return revisions[-1]
    number = revisions[-1]["revision"] + 1 if revisions else 1
    if equal:
        return cluster.change(resource, equal[-1], lambda draft: draft.update(revision=number))
    return cluster.create(resource, sts["metadata"]["namespace"], _new_revision(sts, template, number))


def _new_revision(sts: Json, template: Json, number: int) -> Json:
    metadata = sts["metadata"]
    name = f"{metadata['name']}-{_hash(template)}"
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {
        "metadata": {
            "name": name,
            "labels": {**labels, "controller.kubernetes.io/hash": name.rpartition("-")[2]},
            "ownerReferences": [owner_reference(sts)],
        },
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        "revision": number,
    }


def owner_reference(owner: Json) -> Json:
    """Return the reference by which a controller owns an object."""
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"]}
    return reference | {"uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True}


def _hash(template: Json) -> str:
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(NAME_ALPHABET[byte % len(NAME_ALPHABET)] for byte in digest[:HASH_LENGTH])
