"""Writes as the API server carries them out: identity, generation, conflicts, defaults, rules, then the store.

The HTTP side and the controllers share this object. It is the only writer of the store besides `deletion`.
"""

from __future__ import annotations

import copy
import json
import secrets
import uuid
from collections.abc import Callable
from typing import Any

from lab.control_plane.simulated import errors
from lab.control_plane.simulated.clock import timestamp
from lab.control_plane.simulated.defaults import apply_defaults, prepare_new
from lab.control_plane.simulated.resources import Catalogue, Resource
from lab.control_plane.simulated.store import Store
from lab.control_plane.simulated.validation import validate_change, validate_new

Json = dict[str, Any]

NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
NEVER_CHANGED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


class Cluster:
    """All objects, with the rules for creating and changing them."""

    def __init__(self) -> None:
        self.store = Store()
        self.catalogue = Catalogue()

    def resource(self, plural: str, group: str = "") -> Resource:
        """Look up one of the kinds that always exist."""
        return self.catalogue.by_plural(plural, group)

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """Read an object, which must not be changed; 404 when there is none."""
        found = self.store.get(resource, namespace, name)
        if found is None:
            raise errors.not_found(resource, name)
        return found

    def create(self, resource: Resource, namespace: str, body: Json, *, dry_run: bool = False) -> Json:
        """Store a new object: named, identified, filled in and checked."""
        obj = copy.deepcopy(body)
        metadata = _metadata(resource, namespace, obj)
        if metadata.get("resourceVersion"):
            raise errors.internal("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and (prefix := metadata.get("generateName")):
            metadata["name"] = prefix + random_suffix()
        self._check_namespace(resource, namespace, metadata.get("name", ""))
        for field in (*NEVER_CHANGED, "managedFields", "selfLink"):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp()
        if resource.generation:
            metadata["generation"] = 1
        try:
            prepare_new(resource, obj)
            apply_defaults(resource, obj)
        except (KeyError, TypeError, AttributeError) as error:
            raise errors.bad_request(f"the object is malformed near {error}") from None
        validate_new(resource, obj)
        if self.store.get(resource, namespace, metadata["name"]) is not None:
            raise errors.already_exists(resource, metadata["name"])
        return obj if dry_run else self.store.put(resource, obj)

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Json,
        *,
        status: bool = False,
        dry_run: bool = False,
        patched: bool = False,
    ) -> Json:
        """Replace an object, or its status alone; what is read-only stays, and no change writes nothing."""
        old = self.get(resource, namespace, name)
        obj = copy.deepcopy(body)
        metadata = _metadata(resource, namespace, obj)
        if metadata.get("name") != name:
            said = metadata.get("name", "")
            text = f"the name of the object ({said}) does not match the name on the URL ({name})"
            raise errors.bad_request(text)
        check_version(resource, old, metadata, patched=patched)
        obj = _status_only(old, obj) if status else _all_but_status(resource, old, obj)
        _keep_identity(obj, old)
        if not status:
            apply_defaults(resource, obj)
            validate_change(resource, obj, old)
            if resource.generation and _content(obj) != _content(old):
                obj["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if _without_version(obj) == _without_version(old):
            return old
        if dry_run:
            return obj
        if "deletionTimestamp" in obj["metadata"] and self._may_go(resource, obj):
            return self.store.remove(resource, namespace, name)
        return self.store.put(resource, obj)

    def change(
        self, resource: Resource, obj: Json, edit: Callable[[Json], None], *, status: bool = False
    ) -> Json:
        """Change the object as it is now by a function, for controllers; 404 when it is gone."""
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        draft = copy.deepcopy(self.get(resource, namespace, metadata["name"]))
        edit(draft)
        return self.update(resource, namespace, metadata["name"], draft, status=status)

    def _may_go(self, resource: Resource, obj: Json) -> bool:
        """Whether an object that is being deleted has nothing left that holds it."""
        metadata = obj["metadata"]
        if resource.qualified == "namespaces" and obj["spec"].get("finalizers"):
            return False
        return not metadata.get("finalizers") and metadata.get("deletionGracePeriodSeconds", 0) == 0

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        namespaces = self.resource("namespaces")
        found = self.get(namespaces, "", namespace)
        if "deletionTimestamp" in found["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            text = f"namespace {namespace} is being terminated"
            causes = [{"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}]
            raise errors.forbidden(resource, name, why, causes)


def check_version(resource: Resource, found: Json, wanted: Json, *, patched: bool) -> None:
    """Refuse a write that means another version, or another life, of the object."""
    metadata = found["metadata"]
    uid = wanted.get("uid") or metadata["uid"]
    if uid != metadata["uid"] and patched:
        problem = ("metadata.uid", "FieldValueInvalid", f'Invalid value: "{uid}": field is immutable')
        raise errors.invalid(resource, metadata["name"], [problem])
    if uid != metadata["uid"]:
        text = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise errors.conflict(resource, metadata["name"], text)
    version = wanted.get("resourceVersion")
    if version and version != metadata["resourceVersion"]:
        raise errors.conflict(resource, metadata["name"])


def random_suffix() -> str:
    """Five characters, as generateName appends them."""
    return "".join(secrets.choice(NAME_ALPHABET) for _ in range(5))


def _metadata(resource: Resource, namespace: str, obj: Json) -> Json:
    """Check what the body says about itself against the path, and fill it in."""
    for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if obj.setdefault(field, expected) != expected:
            what = "API version" if field == "apiVersion" else "kind"
            text = f"the {what} in the data ({obj[field]}) does not match the expected {what} ({expected})"
            raise errors.bad_request(text)
    metadata: Json = obj.setdefault("metadata", {})
    if resource.namespaced and metadata.setdefault("namespace", namespace) != namespace:
        text = "the namespace of the provided object does not match the namespace sent on the request"
        raise errors.bad_request(text)
    return metadata


def _status_only(old: Json, new: Json) -> Json:
    return {**copy.deepcopy(old), "status": new.get("status", {})}


def _all_but_status(resource: Resource, old: Json, new: Json) -> Json:
    if resource.status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copy.deepcopy(old["status"])
    return new


def _keep_identity(obj: Json, old: Json) -> None:
    metadata = obj["metadata"]
    metadata.pop("managedFields", None)
    for field in NEVER_CHANGED:
        metadata.pop(field, None)
        if field in old["metadata"]:
            metadata[field] = old["metadata"][field]
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        if not metadata.get(field):
            metadata.pop(field, None)


def _content(obj: Json) -> str:
    """What generation counts: all but metadata and status."""
    return json.dumps({key: obj[key] for key in obj if key not in ("metadata", "status")}, sort_keys=True)


def _without_version(obj: Json) -> Json:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    return {**obj, "metadata": metadata}
