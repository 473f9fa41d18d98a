"""Tables: what kubectl asks for to print columns. Each kind's columns are one function of the object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lab.control_plane.simulated.clock import age
from lab.control_plane.simulated.resources import Resource

Json = dict[str, Any]
Cells = list[Any]

NONE = "<none>"


def wants_table(accept: str) -> bool:
    """Whether the client asks for a table."""
    return "as=Table" in accept and "meta.k8s.io" in accept


def table(resource: Resource, objects: Sequence[Json], revision: str, include: str = "Metadata") -> Json:
    """Make a table of objects; `include` says how much of each object travels with its row."""
    columns, cells = COLUMNS.get(resource.qualified, (("Name", "Age"), _plain))
    definitions = [_definition(name) for name in columns]
    rows = [{"cells": cells(obj), "object": _included(obj, include)} for obj in objects]
    metadata = {"resourceVersion": revision}
    head: Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return head | {"columnDefinitions": definitions, "rows": rows}


def _definition(name: str) -> Json:
    wide = name.endswith("+")
    definition: Json = {"name": name.rstrip("+"), "type": "string", "format": "", "description": ""}
    if name == "Name":
        definition["format"] = "name"
    return definition | {"priority": 1 if wide else 0}


def _included(obj: Json, include: str) -> Json | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _name(obj: Json) -> str:
    name: str = obj["metadata"]["name"]
    return name


def _age(obj: Json) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def _plain(obj: Json) -> Cells:
    return [_name(obj), _age(obj)]


def _pod(pod: Json) -> Cells:
    status, spec = pod.get("status", {}), pod["spec"]
    containers = status.get("containerStatuses") or []
    ready = sum(1 for container in containers if container.get("ready"))
    restarts = sum(container.get("restartCount", 0) for container in containers)
    count = f"{ready}/{len(spec['containers'])}"
    cells = [_name(pod), count, _pod_reason(pod, containers), str(restarts), _age(pod)]
    return [*cells, status.get("podIP", NONE), spec.get("nodeName", NONE), NONE, NONE]


def _pod_reason(pod: Json, containers: Sequence[Json]) -> str:
    """The one word that kubectl shows: what keeps a container down, else the phase."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for container in containers:
        state = container.get("state") or {}
        for kind in ("waiting", "terminated"):
            if reason := (state.get(kind) or {}).get("reason"):
                return str(reason)
    status = pod.get("status", {})
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _node(node: Json) -> Cells:
    conditions = node.get("status", {}).get("conditions") or ()
    ready = next((found["status"] for found in conditions if found["type"] == "Ready"), "Unknown")
    words = "Ready" if ready == "True" else "NotReady"
    if node.get("spec", {}).get("unschedulable"):
        words += ",SchedulingDisabled"
    info = node.get("status", {}).get("nodeInfo", {})
    return [_name(node), words, NONE, _age(node), info.get("kubeletVersion", "")]


def _budget(budget: Json) -> Cells:
    spec, status = budget["spec"], budget.get("status", {})
    wanted = [str(spec.get(field, "N/A")) for field in ("minAvailable", "maxUnavailable")]
    return [_name(budget), *wanted, status.get("disruptionsAllowed", 0), _age(budget)]


def _stateful_set(sts: Json) -> Cells:
    containers = sts["spec"]["template"]["spec"]["containers"]
    ready = f"{sts.get('status', {}).get('readyReplicas', 0)}/{sts['spec']['replicas']}"
    names, images = (",".join(found.get(field, "") for found in containers) for field in ("name", "image"))
    return [_name(sts), ready, _age(sts), names, images]


def _claim(claim: Json) -> Cells:
    status, spec = claim.get("status", {}), claim["spec"]
    capacity = (status.get("capacity") or {}).get("storage", "")
    cells = [_name(claim), status.get("phase", ""), spec.get("volumeName", ""), capacity, _modes(spec)]
    return [*cells, spec.get("storageClassName", ""), _age(claim)]


def _volume(volume: Json) -> Cells:
    spec = volume["spec"]
    reference = spec.get("claimRef")
    claim = f"{reference['namespace']}/{reference['name']}" if reference else ""
    policy = spec.get("persistentVolumeReclaimPolicy", "")
    cells = [_name(volume), spec.get("capacity", {}).get("storage", ""), _modes(spec), policy]
    phase = volume.get("status", {}).get("phase", "")
    return [*cells, phase, claim, spec.get("storageClassName", ""), _age(volume)]


def _modes(spec: Json) -> str:
    words = {
        "ReadWriteOnce": "RWO",
        "ReadWriteOncePod": "RWOP",
        "ReadWriteMany": "RWX",
        "ReadOnlyMany": "ROX",
    }
    return ",".join(words.get(mode, mode) for mode in spec.get("accessModes", ()))


def _event(event: Json) -> Cells:
    involved = event.get("involvedObject", {})
    subject = f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"
    seen = age(event.get("lastTimestamp") or event.get("eventTime"))
    return [seen, event.get("type", ""), event.get("reason", ""), subject, event.get("message", "")]


def _namespace(namespace: Json) -> Cells:
    return [_name(namespace), namespace.get("status", {}).get("phase", ""), _age(namespace)]


def _secret(secret: Json) -> Cells:
    return [_name(secret), secret.get("type", ""), len(secret.get("data") or {}), _age(secret)]


def _config_map(config: Json) -> Cells:
    return [_name(config), len(config.get("data") or {}), _age(config)]


def _service(service: Json) -> Cells:
    spec = service["spec"]
    ports = ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports", ()))
    return [
        _name(service),
        spec.get("type", ""),
        spec.get("clusterIP", NONE),
        NONE,
        ports or NONE,
        _age(service),
    ]


POD_COLUMNS = "Name Ready Status Restarts Age IP+ Node+ Nominated_Node+ Readiness_Gates+"
VOLUME_COLUMNS = "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass Age"


def _columns(names: str, cells: Callable[[Json], Cells]) -> tuple[tuple[str, ...], Callable[[Json], Cells]]:
    return tuple(name.replace("_", " ") for name in names.split()), cells


COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[Json], Cells]]] = {
    "configmaps": _columns("Name Data Age", _config_map),
    "events": _columns("Last_Seen Type Reason Object Message", _event),
    "namespaces": _columns("Name Status Age", _namespace),
    "nodes": _columns("Name Status Roles Age Version", _node),
    "persistentvolumeclaims": _columns("Name Status Volume Capacity Access_Modes StorageClass Age", _claim),
    "persistentvolumes": _columns(VOLUME_COLUMNS, _volume),
    "poddisruptionbudgets.policy": _columns(
        "Name Min_Available Max_Unavailable Allowed_Disruptions Age", _budget
    ),
    "pods": _columns(POD_COLUMNS, _pod),
    "secrets": _columns("Name Type Data Age", _secret),
    "services": _columns("Name Type Cluster-IP External-IP Port(s) Age", _service),
    "statefulsets.apps": _columns("Name Ready Age Containers+ Images+", _stateful_set),
}
