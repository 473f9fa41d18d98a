"""A StatefulSet's pods: their names, their labels, their volumes, and the revision that each is created at.

The last is where a rollout goes wrong: without `rollingUpdate` a pod is created again at the *old* revision
while its ordinal is below `status.currentReplicas`; with it, while its ordinal is below the partition.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.controllers.revisions import owner_reference, template_of
from lab.control_plane.simulated.pod_status import is_terminating

Json = dict[str, Any]
REVISION_LABEL = "controller-revision-hash"


def ordinal_of(name: str) -> int:
    """The number at the end of a pod's name; -1 when there is none."""
    match = re.search(r"-(\d+)$", name)
    return int(match[1]) if match else -1


def revision_of(pod: Json) -> str:
    """The name of the revision that a pod was made from."""
    revision: str = (pod["metadata"].get("labels") or {}).get(REVISION_LABEL, "")
    return revision


def new_pod(sts: Json, current: Json, update: Json, ordinal: int) -> Json:
    """Make the pod of an ordinal, not yet created, at the revision that the real controller would choose."""
    old = _belongs_to_current(sts, ordinal)
    revision = current if old else update
    return _pod_from(sts, template_of(revision), revision["metadata"]["name"], ordinal)


def _belongs_to_current(sts: Json, ordinal: int) -> bool:
    strategy = sts["spec"]["updateStrategy"]
    rolling = strategy.get("rollingUpdate")
    if rolling is not None:
        return ordinal < int(rolling.get("partition", 0))
    current_replicas = int((sts.get("status") or {}).get("currentReplicas", 0))
    return strategy["type"] == "RollingUpdate" and ordinal < current_replicas


def _pod_from(sts: Json, template: Json, revision: str, ordinal: int) -> Json:
    name = f"{sts['metadata']['name']}-{ordinal}"
    metadata = copy.deepcopy(template.get("metadata") or {})
    labels = metadata.get("labels") or {}
    identity = {
        "apps.kubernetes.io/pod-index": str(ordinal),
        "statefulset.kubernetes.io/pod-name": name,
        REVISION_LABEL: revision,
    }
    spec = copy.deepcopy(template["spec"])
    spec |= {"hostname": name, "subdomain": sts["spec"].get("serviceName", "")}
    spec["volumes"] = _volumes(sts, spec, ordinal)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "generateName": f"{sts['metadata']['name']}-",
            "namespace": sts["metadata"]["namespace"],
            "labels": {**labels, **identity},
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [owner_reference(sts)],
        },
        "spec": spec,
    }


def _volumes(sts: Json, spec: Json, ordinal: int) -> list[Json]:
    claims = {claim["metadata"]["name"]: claim for claim in sts["spec"].get("volumeClaimTemplates", ())}
    volumes = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim_name(sts, name, ordinal)}}
        for name in claims
    ]
    return volumes + [volume for volume in spec.get("volumes", ()) if volume["name"] not in claims]


def claim_name(sts: Json, template: str, ordinal: int) -> str:
    """The name of the claim that a pod keeps over all its lives."""
    return f"{template}-{sts['metadata']['name']}-{ordinal}"


def create_missing_claims(cluster: Cluster, sts: Json, ordinal: int) -> str:
    """Create the claims of an ordinal that are not there; returns the name of one that is being deleted, if any.

    No pod is made for such a one (`createPersistentVolumeClaims` in Kubernetes' stateful_pod_control.go).
    """
    going = ""
    resource = cluster.resource("persistentvolumeclaims")
    namespace = sts["metadata"]["namespace"]
    labels = sts["spec"]["selector"].get("matchLabels") or {}
    for template in sts["spec"].get("volumeClaimTemplates", ()):
        name = claim_name(sts, template["metadata"]["name"], ordinal)
        found = cluster.store.get(resource, namespace, name)
        if found is not None:
            going = name if is_terminating(found) else going
            continue
        given = template["metadata"].get("labels") or {}
        claim: Json = {"metadata": {"name": name, "labels": {**given, **labels}}}
        cluster.create(resource, namespace, claim | {"spec": copy.deepcopy(template["spec"])})
    return going
