"""Computes the status that a kubelet reports for a pod: phase, conditions, container states.

A pure function of the pod and what the node knows of it. The scheduler's condition stays as it is.
"""

from __future__ import annotations

from lab.nodes.records import ContainerRecord, Json, PodRecord, Terminated, now, timestamp


def pod_status(record: PodRecord, node_address: str) -> Json:
    """The whole status, ready to be patched over the one in the API."""
    pod = record.pod
    policy = "Never" if record.ending else pod["spec"].get("restartPolicy", "Always")
    statuses = [
        _container_status(item, record.containers[item["name"]]) for item in pod["spec"]["containers"]
    ]
    address = {"podIP": record.address, "podIPs": [{"ip": record.address}]} if record.address else {}
    phase = _phase(record, policy)
    return {
        "phase": phase,
        "hostIP": node_address,
        "hostIPs": [{"ip": node_address}],
        "startTime": timestamp(record.started_at),
        "qosClass": pod.get("status", {}).get("qosClass", "BestEffort"),
        "containerStatuses": statuses,
        "conditions": _conditions(pod, record, phase),
        **address,
    }


def ready(status: Json) -> str | None:
    """What a status says of the condition Ready; None where it has none."""
    found = [item["status"] for item in status.get("conditions", []) if item["type"] == "Ready"]
    return found[0] if found else None


def _phase(record: PodRecord, policy: str) -> str:
    containers = list(record.containers.values())
    if any(item.process is not None for item in containers):
        return "Running"
    if any(item.finished is None for item in containers):
        return "Pending"
    codes = [item.finished.exit_code for item in containers if item.finished]
    if policy == "Always" or (policy == "OnFailure" and any(codes)):
        return "Running"
    return "Failed" if any(codes) else "Succeeded"


def _container_status(spec: Json, container: ContainerRecord) -> Json:
    return {
        "name": container.name,
        "image": spec.get("image", ""),
        "imageID": "",
        "containerID": container.container_id,
        "ready": container.ready,
        "started": container.process is not None,
        "restartCount": container.restarts,
        "state": _state(container),
        "lastState": _last_state(container),
    }


def _state(container: ContainerRecord) -> Json:
    if container.process is not None:  # an end that has not been recorded yet does not show
        return {"running": {"startedAt": timestamp(container.started_at)}}
    if container.finished and not container.waiting:
        return {"terminated": _terminated(container.finished)}
    message = {"message": container.waiting_message} if container.waiting_message else {}
    return {"waiting": {"reason": container.waiting, **message}}


def _last_state(container: ContainerRecord) -> Json:
    last = container.finished if container.finished and container.waiting else container.last
    return {"terminated": _terminated(last)} if last else {}


def _terminated(end: Terminated) -> Json:
    message = {"message": end.message} if end.message else {}
    return {
        "exitCode": end.exit_code,
        "reason": end.reason,
        "startedAt": timestamp(end.started_at),
        "finishedAt": timestamp(end.finished_at),
        "containerID": end.container_id,
        **message,
    }


def _conditions(pod: Json, record: PodRecord, phase: str) -> list[Json]:
    others = [item.name for item in record.containers.values() if not item.ready]
    unready = {
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{' '.join(others)}]",
    }
    if phase in {"Succeeded", "Failed"}:
        unready = {"reason": "PodCompleted" if phase == "Succeeded" else "PodFailed"}
    facts: dict[str, tuple[bool, Json]] = {
        "PodReadyToStartContainers": (record.sandbox is not None, {}),
        "Initialized": (True, {}),
        "Ready": (not others, unready),
        "ContainersReady": (not others, unready),
    }
    own = [_condition(record, kind, *fact) for kind, fact in facts.items()]
    foreign = [item for item in pod.get("status", {}).get("conditions", []) if item["type"] not in facts]
    return own + foreign


def _condition(record: PodRecord, kind: str, holds: bool, otherwise: Json) -> Json:
    """The condition, with the time of its last change kept while it does not change."""
    status = "True" if holds else "False"
    known = record.conditions.get(kind)
    changed = known["lastTransitionTime"] if known and known["status"] == status else timestamp(now())
    condition = {
        "type": kind,
        "status": status,
        "lastTransitionTime": changed,
        **({} if holds else otherwise),
    }
    record.conditions[kind] = condition
    return condition
