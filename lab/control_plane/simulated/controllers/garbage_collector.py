"""The garbage collector: objects whose owners are gone go too, at once or before or without their owner.

Background is the default; Foreground keeps the owner until its dependents that block it are gone; Orphan
takes the reference away from the dependents instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.deletion import delete
from lab.control_plane.simulated.errors import StatusError
from lab.control_plane.simulated.pod_status import is_terminating
from lab.control_plane.simulated.resources import Resource
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]
Place = tuple[Resource, str, str]
"""Kind, namespace and name."""
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class GarbageCollector(Controller):
    """Keys are ("owner", uid) of what was removed, and (group, plural, namespace, name) of objects to look at."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._owned: dict[str, dict[Place, None]] = defaultdict(dict)
        """What has ever named an owner, by the owner's uid, in the order in which it did."""
        self._waiting: dict[str, Place] = {}
        """Owners that go with, or without, their dependents, by uid."""

    def keys(self, change: Change) -> Iterable[tuple[str, ...]]:
        """Look at the dependents of what goes, and at what has owners."""
        metadata = change.object["metadata"]
        place = (change.resource, change.namespace, change.name)
        for owner in metadata.get("ownerReferences") or ():
            self._owned[owner["uid"]][place] = None
        if change.type == "DELETED":
            self._waiting.pop(metadata["uid"], None)
            yield "gone", metadata["uid"]
            for owner in metadata.get("ownerReferences") or ():
                yield "look", owner["uid"]
            return
        finalizers = metadata.get("finalizers") or ()
        if metadata.get("ownerReferences") and change.type == "ADDED":
            yield self._key(change.resource, change.object)
        if is_terminating(change.object) and (FOREGROUND in finalizers or ORPHAN in finalizers):
            self._waiting[metadata["uid"]] = place
            yield "look", metadata["uid"]

    def sync(self, key: tuple[str, ...]) -> None:
        """Delete what has no owner left; let go an owner that waited for its dependents."""
        if key[0] == "gone":
            for resource, dependent in self._dependents(key[1]):
                self._check_owners(resource, dependent)
            self._owned.pop(key[1], None)
        elif key[0] == "look":
            self._check_waiting_owner(key[1])
        else:
            group, plural, namespace, name = key
            kind = next((found for found in self.cluster.catalogue if found.key == (group, plural)), None)
            obj = self.store.get(kind, namespace, name) if kind else None
            if kind is not None and obj is not None:
                self._check_owners(kind, obj)

    def _key(self, resource: Resource, obj: Json) -> tuple[str, ...]:
        metadata = obj["metadata"]
        return (*resource.key, metadata.get("namespace", ""), metadata["name"])

    def _check_owners(self, resource: Resource, obj: Json) -> None:
        owners = obj["metadata"].get("ownerReferences") or ()
        if is_terminating(obj) or any(self._exists(obj, owner) for owner in owners):
            return
        metadata = obj["metadata"]
        precondition = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Background"}
        delete(self.cluster, resource, metadata.get("namespace", ""), metadata["name"], precondition)

    def _exists(self, obj: Json, owner: Json) -> bool:
        resource = self.cluster.catalogue.by_kind(owner["apiVersion"], owner["kind"])
        if resource is None:
            return True  # a kind that is not served: nothing is known, nothing is deleted
        namespace = obj["metadata"].get("namespace", "") if resource.namespaced else ""
        found = self.store.get(resource, namespace, owner["name"])
        return found is not None and found["metadata"]["uid"] == owner["uid"]

    def _check_waiting_owner(self, uid: str) -> None:
        place = self._waiting.get(uid)
        owner = self.store.get(*place) if place else None
        if place is None or owner is None or owner["metadata"]["uid"] != uid:
            return
        finalizers = owner["metadata"].get("finalizers") or ()
        if ORPHAN in finalizers:
            self._orphan(uid)
            self._release(place[0], owner, ORPHAN)
        elif FOREGROUND in finalizers and not self._blocked(uid):
            self._release(place[0], owner, FOREGROUND)

    def _blocked(self, uid: str) -> bool:
        """Delete the dependents; say whether one that blocks its owner is still there."""
        blocked = False
        for resource, dependent in self._dependents(uid):
            metadata = dependent["metadata"]
            if not is_terminating(dependent):
                options = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Foreground"}
                delete(self.cluster, resource, metadata.get("namespace", ""), metadata["name"], options)
            reference = next(owner for owner in metadata["ownerReferences"] if owner["uid"] == uid)
            still_there = (
                self.store.get(resource, metadata.get("namespace", ""), metadata["name"]) is not None
            )
            blocked |= bool(reference.get("blockOwnerDeletion")) and still_there
        return blocked

    def _orphan(self, uid: str) -> None:
        for resource, dependent in self._dependents(uid):
            rest = [owner for owner in dependent["metadata"]["ownerReferences"] if owner["uid"] != uid]
            self.cluster.change(
                resource,
                dependent,
                lambda draft, rest=rest: draft["metadata"].update(ownerReferences=rest),  # type: ignore[misc]
            )

    def _release(self, resource: Resource, owner: Json, finalizer: str) -> None:
        try:
            self.cluster.change(
                resource, owner, lambda draft: draft["metadata"]["finalizers"].remove(finalizer)
            )
        except (StatusError, ValueError):
            return  # somebody else let go of it

    def _dependents(self, uid: str) -> list[tuple[Resource, Json]]:
        there = ((place[0], self.store.get(*place)) for place in tuple(self._owned.get(uid, ())))
        return [
            (resource, obj)
            for resource, obj in there
            if obj and any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences") or ())
        ]
