"""Claims and volumes: binding one to the other, and keeping both while they are used.

A volume that names its claim is bound to it; otherwise the smallest that is large enough. A claim that a pod
uses, and a volume that a claim holds, outlive their deletion until they are free.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.pod_status import is_terminating, phase
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(text: str) -> float:
    """Read a quantity such as 1Gi."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", str(text))
    return float(match[1]) * UNITS.get(match[2], 1) if match else 0.0


class VolumeBinder(Controller):
    """Keys are ("claim", namespace, name) and ("volume", "", name)."""

    def keys(self, change: Change) -> Iterable[tuple[str, str, str]]:
        """Look at what changed, and at every claim without a volume when a volume appears."""
        if change.resource.qualified == "persistentvolumeclaims":
            yield "claim", change.namespace, change.name
            if volume := change.object["spec"].get("volumeName"):
                yield "volume", "", volume
        if change.resource.qualified == "persistentvolumes":
            yield "volume", "", change.name
            claims = self.cluster.resource("persistentvolumeclaims")
            for claim in self.store.list(claims):
                if phase(claim) == "Pending":
                    yield "claim", claim["metadata"]["namespace"], claim["metadata"]["name"]

    def sync(self, key: tuple[str, str, str]) -> None:
        """Bind a claim, or write what a volume's claim makes of it."""
        kind, namespace, name = key
        if kind == "claim":
            claim = self.store.get(self.cluster.resource("persistentvolumeclaims"), namespace, name)
            if claim is not None and not is_terminating(claim):
                self._sync_claim(claim)
        else:
            volume = self.store.get(self.cluster.resource("persistentvolumes"), "", name)
            if volume is not None:
                self._sync_volume(volume)

    def _sync_claim(self, claim: Json) -> None:
        volumes = self.cluster.resource("persistentvolumes")
        named = claim["spec"].get("volumeName")
        if phase(claim) == "Bound":
            if named and self.store.get(volumes, "", named) is None:
                self._set_phase("persistentvolumeclaims", claim, "Lost")
            return
        volume = self.store.get(volumes, "", named) if named else self._best(claim)
        if volume is not None and _is_free_for(volume, claim):
            self._bind(claim, volume)

    def _best(self, claim: Json) -> Json | None:
        """Choose the volume that waits for this claim, else the smallest that fits."""
        volumes = self.store.list(self.cluster.resource("persistentvolumes"))
        reserved = [volume for volume in volumes if _is_reserved_for(volume, claim)]
        fitting = [
            volume for volume in volumes if not volume["spec"].get("claimRef") and _fits(volume, claim)
        ]
        fitting.sort(key=lambda volume: quantity(volume["spec"]["capacity"]["storage"]))
        if not reserved and self._waits_for_consumer(claim):
            return None
        return next(iter([*reserved, *fitting]), None)

    def _waits_for_consumer(self, claim: Json) -> bool:
        classes = self.cluster.resource("storageclasses", "storage.k8s.io")
        found = self.store.get(classes, "", claim["spec"].get("storageClassName") or "")
        return found is not None and found["volumeBindingMode"] == "WaitForFirstConsumer"

    def _bind(self, claim: Json, volume: Json) -> None:
        metadata = claim["metadata"]
        reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "name": metadata["name"]}
        reference |= {"namespace": metadata["namespace"], "uid": metadata["uid"]}
        volumes, claims = (self.cluster.resource(f"persistentvolume{end}") for end in ("s", "claims"))
        bound = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
        name, spec = volume["metadata"]["name"], volume["spec"]

        def take(draft: Json) -> None:
            draft["spec"]["volumeName"] = name
            draft["metadata"]["annotations"] = {**(draft["metadata"].get("annotations") or {}), **bound}

        self.cluster.change(volumes, volume, lambda draft: draft["spec"].update(claimRef=reference))
        self._set_phase("persistentvolumes", volume, "Bound")
        self.cluster.change(claims, claim, take)
        status = {"accessModes": spec.get("accessModes", []), "capacity": spec.get("capacity", {})}
        self._set_phase("persistentvolumeclaims", claim, "Bound", **status)

    def _sync_volume(self, volume: Json) -> None:
        reference = volume["spec"].get("claimRef")
        if not reference or not reference.get("uid"):
            self._set_phase("persistentvolumes", volume, "Available")
            return
        claims = self.cluster.resource("persistentvolumeclaims")
        claim = self.store.get(claims, reference["namespace"], reference["name"])
        if claim is None or claim["metadata"]["uid"] != reference["uid"]:
            self._set_phase("persistentvolumes", volume, "Released")

    def _set_phase(self, plural: str, obj: Json, wanted: str, **more: Any) -> None:
        if phase(obj) != wanted or more:
            self.cluster.change(
                self.cluster.resource(plural),
                obj,
                lambda draft: draft.update(status={"phase": wanted, **more}),
                status=True,
            )


def _is_reserved_for(volume: Json, claim: Json) -> bool:
    reference = volume["spec"].get("claimRef")
    metadata = claim["metadata"]
    return bool(
        reference
        and (reference.get("namespace"), reference.get("name")) == (metadata["namespace"], metadata["name"])
        and reference.get("uid") in (None, "", metadata["uid"])
    )


def _is_free_for(volume: Json, claim: Json) -> bool:
    return not volume["spec"].get("claimRef") or _is_reserved_for(volume, claim)


def _fits(volume: Json, claim: Json) -> bool:
    spec, wanted = volume["spec"], claim["spec"]
    size = ((wanted.get("resources") or {}).get("requests") or {}).get("storage", "0")
    return (
        spec.get("storageClassName", "") == (wanted.get("storageClassName") or "")
        and set(wanted.get("accessModes", ())) <= set(spec.get("accessModes", ()))
        and quantity(spec["capacity"]["storage"]) >= quantity(size)
    )


class VolumeProtection(Controller):
    """Keys are (plural, namespace, name) of claims and volumes that are to go."""

    def keys(self, change: Change) -> Iterable[tuple[str, str, str]]:
        """Look at what is marked for deletion, and again when its last user may have gone."""
        qualified = change.resource.qualified
        if qualified in ("persistentvolumeclaims", "persistentvolumes") and is_terminating(change.object):
            yield qualified, change.namespace, change.name
        if qualified == "pods":
            for volume in change.object["spec"].get("volumes", ()):
                if claim := volume.get("persistentVolumeClaim"):
                    yield "persistentvolumeclaims", change.namespace, claim["claimName"]
        if qualified == "persistentvolumeclaims" and (name := change.object["spec"].get("volumeName")):
            yield "persistentvolumes", "", name

    def sync(self, key: tuple[str, str, str]) -> None:
        """Let go of what is not used any more."""
        plural, namespace, name = key
        resource = self.cluster.resource(plural)
        obj = self.store.get(resource, namespace, name)
        if obj is None or not is_terminating(obj):
            return
        finalizer = CLAIM_FINALIZER if plural == "persistentvolumeclaims" else VOLUME_FINALIZER
        used = self._claim_is_used(obj) if plural == "persistentvolumeclaims" else phase(obj) == "Bound"
        if not used and finalizer in obj["metadata"].get("finalizers", ()):
            self.cluster.change(
                resource, obj, lambda draft: draft["metadata"]["finalizers"].remove(finalizer)
            )

    def _claim_is_used(self, claim: Json) -> bool:
        name = claim["metadata"]["name"]
        pods = self.store.list(self.cluster.resource("pods"), claim["metadata"]["namespace"])
        volumes = (volume for pod in pods for volume in pod["spec"].get("volumes", ()))
        return any((volume.get("persistentVolumeClaim") or {}).get("claimName") == name for volume in volumes)
