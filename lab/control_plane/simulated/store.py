"""The objects, one counter of revisions, and the recent history that watches are served from.

It plays etcd and the API server's watch cache. Objects are never changed in place: a writer stores a new one,
so that readers, watchers and the history can share references. Everything happens on one event loop, so that
a read and the write that follows it without an await are one transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.control_plane.simulated.resources import Resource

Json = dict[str, Any]
HISTORY = 10_000


@dataclass(frozen=True)
class Change:
    """One write: the object after it (before it, for a deletion) and before it."""

    revision: int
    type: str
    resource: Resource
    object: Json
    previous: Json | None

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        namespace: str = self.object["metadata"].get("namespace", "")
        return namespace

    @property
    def name(self) -> str:
        """The object's name."""
        name: str = self.object["metadata"]["name"]
        return name


class Store:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self.revision = 1
        self._objects: dict[tuple[str, str], dict[str, dict[str, Json]]] = {}
        self._beginnings: dict[tuple[str, str], int] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._subscribers: list[Callable[[Change], None]] = []

    def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Read one object; it must not be changed."""
        return self._objects.get(resource.key, {}).get(namespace, {}).get(name)

    def list(self, resource: Resource, namespace: str = "") -> list[Json]:
        """Read all objects of a kind, of one namespace or of all, by namespace and name."""
        found = self._objects.get(resource.key, {})
        spaces = [found.get(namespace, {})] if namespace else [found[name] for name in sorted(found)]
        return [objects[name] for objects in spaces for name in sorted(objects)]

    def put(self, resource: Resource, obj: Json) -> Json:
        """Store an object under a new revision and tell everybody."""
        metadata = obj["metadata"]
        objects = self._beside(resource, metadata)
        previous = objects.get(metadata["name"])
        self.revision += 1
        stored: Json = {**obj, "metadata": {**metadata, "resourceVersion": str(self.revision)}}
        objects[metadata["name"]] = stored
        self._record("MODIFIED" if previous else "ADDED", resource, stored, previous)
        return stored

    def remove(self, resource: Resource, namespace: str, name: str) -> Json:
        """Remove an object; its last state carries the revision of the removal."""
        previous = self._objects[resource.key][namespace].pop(name)
        self.revision += 1
        last: Json = {**previous, "metadata": {**previous["metadata"], "resourceVersion": str(self.revision)}}
        self._record("DELETED", resource, last, previous)
        return last

    def restore(self, resource: Resource, obj: Json, revision: int, *, gone: bool) -> None:
        """Put an object back as it was at a revision, before anybody subscribes; or leave it out."""
        metadata = obj["metadata"]
        objects = self._beside(resource, metadata)
        self.revision = revision
        if gone:
            objects.pop(metadata["name"], None)
        else:
            objects[metadata["name"]] = obj

    def subscribe(self, subscriber: Callable[[Change], None]) -> Callable[[], None]:
        """Call a function with each change from now on, until the function returned here is called."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def reaches_back_to(self, revision: int, resource: Resource) -> bool:
        """Whether the history holds every change of a kind after this revision."""
        oldest = self._history[0].revision - 1 if self._history else 0
        return revision >= max(oldest, self._beginnings.get(resource.key, 0))

    def begin_history(self, resource: Resource) -> None:
        """Begin the history of a kind here, as it is with one that is served from now on."""
        self._beginnings.setdefault(resource.key, self.revision)

    def since(self, revision: int, resource: Resource) -> Iterator[Change]:
        """Replay the changes of one kind after a revision."""
        return (
            change
            for change in tuple(self._history)
            if change.revision > revision and change.resource.key == resource.key
        )

    def _beside(self, resource: Resource, metadata: Json) -> dict[str, Json]:
        """The objects of the same kind and namespace, by name."""
        return self._objects.setdefault(resource.key, {}).setdefault(metadata.get("namespace", ""), {})

    def _record(self, kind: str, resource: Resource, obj: Json, previous: Json | None) -> None:
        change = Change(self.revision, kind, resource, obj, previous)
        self._history.append(change)
        for subscriber in tuple(self._subscribers):
            subscriber(change)
