"""The Node object and the Lease that a kubelet keeps in the API."""

from __future__ import annotations

import datetime

from lab.nodes.kubelet_api import PORT
from lab.nodes.records import Json, now, timestamp

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RESOURCES = {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}


def node(name: str, labels: dict[str, str]) -> Json:
    """A node as its kubelet registers it; admission adds the taint `not-ready`."""
    metadata = {
        "name": name,
        "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels},
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}}


def status(address: str) -> Json:
    """A healthy node's status; the node lifecycle controller takes the taint away when it sees it."""
    return {
        "addresses": [{"type": "InternalIP", "address": address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
        "capacity": RESOURCES,
        "allocatable": RESOURCES,
        "conditions": [
            _condition("Ready", "True", "KubeletReady"),
            _condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            _condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            _condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        ],
        "nodeInfo": _node_info(),
    }


def _condition(kind: str, value: str, reason: str) -> Json:
    moment = timestamp(now())
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": "",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }


def _node_info() -> Json:
    names = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion")
    versions = {
        "kubeletVersion": "v1.34.4",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }
    return {**dict.fromkeys(names, "lab"), **versions}


def lease(name: str) -> Json:
    """The heartbeat; 40 seconds after the last one the node counts as unreachable."""
    renewed = now().astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renewed},
    }
