"""What the API server fills in, and what it takes out, when an object of each kind is created or changed.

Only what somebody can notice in this operation: the update strategy that is left out is not the one that is
written out, a Node starts with a taint, volumes are protected by finalizers, a status is nobody's to set at
creation.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from lab.control_plane.simulated.pod_defaults import admit_pod, default_pod_spec, quality_of_service
from lab.control_plane.simulated.resources import Resource

Json = dict[str, Any]
NOT_READY = "node.kubernetes.io/not-ready"


def apply_defaults(resource: Resource, obj: Json) -> None:
    """Fill in an object of any kind, in place, at creation and at each change."""
    if default := DEFAULTS.get(resource.qualified):
        default(obj)


def prepare_new(resource: Resource, obj: Json) -> None:
    """Do to a new object what happens once: its first status, admission, finalizers."""
    if resource.status and resource.qualified != "nodes":  # a kubelet registers its node with a status
        obj.pop("status", None)
    if prepare := FIRST.get(resource.qualified):
        prepare(obj)


def _template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def _stateful_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    _template(spec)
    for claim in spec.get("volumeClaimTemplates", ()):
        claim.update(kind="PersistentVolumeClaim", apiVersion="v1", status={"phase": "Pending"})
        claim["spec"].setdefault("volumeMode", "Filesystem")


def _daemon_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("revisionHistoryLimit", 10)
    rolling = {"maxUnavailable": 1, "maxSurge": 0}
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": rolling})
    _template(spec)


def _deployment(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
    spec.setdefault("strategy", {"type": "RollingUpdate", "rollingUpdate": rolling})
    _template(spec)


def _replica_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)


def _secret(obj: Json) -> None:
    obj.setdefault("type", "Opaque")
    for key, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])


def _volume(obj: Json) -> None:
    obj["spec"].setdefault("persistentVolumeReclaimPolicy", "Retain")
    obj["spec"].setdefault("volumeMode", "Filesystem")


def _storage_class(obj: Json) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


DEFAULTS: dict[str, Callable[[Json], None]] = {
    "daemonsets.apps": _daemon_set,
    "deployments.apps": _deployment,
    "persistentvolumeclaims": lambda obj: obj["spec"].setdefault("volumeMode", "Filesystem"),
    "persistentvolumes": _volume,
    "pods": lambda obj: default_pod_spec(obj["spec"]),
    "replicasets.apps": _replica_set,
    "secrets": _secret,
    "services": _service,
    "statefulsets.apps": _stateful_set,
    "storageclasses.storage.k8s.io": _storage_class,
}


def _new_pod(obj: Json) -> None:
    admit_pod(obj)
    obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(obj["spec"])}


def _new_namespace(obj: Json) -> None:
    labels = obj["metadata"].get("labels") or {}
    obj["metadata"]["labels"] = {"kubernetes.io/metadata.name": obj["metadata"]["name"]} | labels
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def _new_node(obj: Json) -> None:
    """Taint it until its kubelet says that it is ready (TaintNodesByCondition)."""
    taints = obj.setdefault("spec", {}).setdefault("taints", [])
    if not any(taint["key"] == NOT_READY and taint["effect"] == "NoSchedule" for taint in taints):
        taints.append({"key": NOT_READY, "effect": "NoSchedule"})


def _protected(finalizer: str) -> Callable[[Json], None]:
    def protect(obj: Json) -> None:
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if finalizer not in finalizers:
            finalizers.append(finalizer)
        obj["status"] = {"phase": "Pending"}

    return protect


def _with_status(**status: Any) -> Callable[[Json], None]:
    def set_status(obj: Json) -> None:
        obj["status"] = dict(status)

    return set_status


FIRST: dict[str, Callable[[Json], None]] = {
    "namespaces": _new_namespace,
    "nodes": _new_node,
    "persistentvolumeclaims": _protected("kubernetes.io/pvc-protection"),
    "persistentvolumes": _protected("kubernetes.io/pv-protection"),
    "poddisruptionbudgets.policy": _with_status(
        currentHealthy=0, desiredHealthy=0, disruptionsAllowed=0, expectedPods=0
    ),
    "pods": _new_pod,
    "services": _with_status(loadBalancer={}),
    "statefulsets.apps": _with_status(replicas=0, availableReplicas=0),
}
