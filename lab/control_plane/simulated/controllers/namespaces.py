"""Namespaces: one that is deleted stays Terminating until all that is in it is gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.deletion import delete
from lab.control_plane.simulated.pod_status import is_terminating
from lab.control_plane.simulated.resources import Resource
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]


class NamespaceController(Controller):
    """Keys are names of namespaces."""

    def keys(self, change: Change) -> Iterable[str]:
        """Look at a namespace that is to go, and again whenever something in it has gone."""
        if change.resource.qualified == "namespaces":
            if is_terminating(change.object) and change.type != "DELETED":
                yield change.name
        elif change.type == "DELETED" and change.namespace:
            yield change.namespace

    def sync(self, name: str) -> None:
        """Delete what is left; let the namespace go when nothing is."""
        namespaces = self.cluster.resource("namespaces")
        namespace = self.store.get(namespaces, "", name)
        if namespace is None or not is_terminating(namespace):
            return
        for resource, obj in tuple(self._content(name)):
            if not is_terminating(obj):
                delete(self.cluster, resource, name, obj["metadata"]["name"])
        if not any(self._content(name)) and namespace["spec"].get("finalizers"):
            self.cluster.change(namespaces, namespace, lambda draft: draft["spec"].update(finalizers=[]))

    def _content(self, name: str) -> Iterator[tuple[Resource, Json]]:
        for resource in self.cluster.catalogue:
            if resource.namespaced:
                for obj in self.store.list(resource, name):
                    yield resource, obj
