"""CustomResourceDefinitions: a kind is served from the moment its definition is stored, like any other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.pod_status import condition, set_condition
from lab.control_plane.simulated.resources import custom_resource
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]


class CustomResourceController(Controller):
    """Keys are names of definitions."""

    def keys(self, change: Change) -> Iterable[str]:
        """Serve or withdraw the kind with the write itself; the definition's status follows."""
        if change.resource.plural != "customresourcedefinitions":
            return
        resource = custom_resource(change.object)
        if resource is None:
            return
        if change.type == "DELETED":
            self.cluster.catalogue.remove(resource)
            return
        self.cluster.catalogue.add(resource)
        self.store.begin_history(resource)
        yield change.name

    def sync(self, name: str) -> None:
        """Say that the kind is served."""
        definitions = self.cluster.resource("customresourcedefinitions", "apiextensions.k8s.io")
        definition = self.store.get(definitions, "", name)
        if definition is None or condition(definition, "Established"):
            return

        def edit(draft: Json) -> None:
            spec = draft["spec"]
            stored = [version["name"] for version in spec["versions"] if version.get("storage")]
            draft["status"] = {"acceptedNames": spec["names"], "storedVersions": stored, "conditions": []}
            set_condition(draft, "NamesAccepted", "True", reason="NoConflicts", message="no conflicts found")
            established = {
                "reason": "InitialNamesAccepted",
                "message": "the initial names have been accepted",
            }
            set_condition(draft, "Established", "True", **established)

        self.cluster.change(definitions, definition, edit, status=True)
