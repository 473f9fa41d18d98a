"""Where a pod can go: the scheduler's filters, in its order, each giving the real one's reason.

The order decides which reason a node gets, since the first filter that refuses it is the one that is told.
Resources are not counted: the lab promises none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.controllers.taint_eviction import tolerates
from lab.control_plane.simulated.pod_status import FINISHED, phase
from lab.control_plane.simulated.selectors import labels_of, matches_selector

Json = dict[str, Any]

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
HARD = "requiredDuringSchedulingIgnoredDuringExecution"
Domain = tuple[str, str]
"""A label of nodes, and its value."""


@dataclass(frozen=True)
class Situation:
    """What the filters look at besides the node; what is the same for all nodes is found out once."""

    pod: Json
    volumes: Sequence[Json]
    placed: Sequence[Json]
    """The pods that have a node, and still need it."""
    single_writer_free: bool
    """Whether no other pod uses a claim that only one pod may use at a time."""
    avoided: frozenset[Domain]
    """Where pods are that this one keeps away from."""
    closed: frozenset[Domain]
    """Where pods are that keep this one away."""


class UnboundError(Exception):
    """The pod's claims do not allow it anywhere yet; the message is the scheduler's."""


def situation(cluster: Cluster, pod: Json) -> Situation:
    """Collect what the filters need."""
    pods = cluster.store.list(cluster.resource("pods"))
    placed = [found for found in pods if found["spec"].get("nodeName") and phase(found) not in FINISHED]
    volumes = _bound_volumes(cluster, pod)
    avoided = (
        (term, other) for term in _anti_affinity(pod) for other in placed if _concerns(term, pod, other)
    )
    closed = (
        (term, other) for other in placed for term in _anti_affinity(other) if _concerns(term, other, pod)
    )
    return Situation(
        pod,
        volumes,
        placed,
        _single_writer(pod, volumes, placed),
        *(_domains(cluster, terms) for terms in (avoided, closed)),
    )


def _domains(cluster: Cluster, terms: Iterable[tuple[Json, Json]]) -> frozenset[Domain]:
    """The domains, as each term draws them, of the pods that it is about."""
    found = set()
    for term, other in terms:
        node = cluster.store.get(cluster.resource("nodes"), "", other["spec"]["nodeName"])
        value = labels_of(node).get(term["topologyKey"]) if node else None
        if value is not None:
            found.add((term["topologyKey"], value))
    return frozenset(found)


def _anti_affinity(pod: Json) -> Iterable[Json]:
    terms: Iterable[Json] = ((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(HARD) or ()
    return terms


def _concerns(term: Json, holder: Json, other: Json) -> bool:
    """Whether a term of one pod means another pod."""
    namespaces = term.get("namespaces") or [holder["metadata"]["namespace"]]
    named = other["metadata"]["namespace"] in namespaces
    return named and matches_selector(term.get("labelSelector"), labels_of(other))


def _single_writer(pod: Json, volumes: Sequence[Json], placed: Sequence[Json]) -> bool:
    single = {
        volume["spec"]["claimRef"]["name"]
        for volume in volumes
        if "ReadWriteOncePod" in volume["spec"].get("accessModes", ()) and volume["spec"].get("claimRef")
    }
    namespace = pod["metadata"]["namespace"]
    others = (other for other in placed if single and other["metadata"]["namespace"] == namespace)
    used = {
        (volume.get("persistentVolumeClaim") or {}).get("claimName")
        for other in others
        for volume in other["spec"].get("volumes", ())
    }
    return not single & used


def _bound_volumes(cluster: Cluster, pod: Json) -> list[Json]:
    claims, volumes = (cluster.resource(f"persistentvolume{end}") for end in ("claims", "s"))
    result = []
    for entry in pod["spec"].get("volumes", ()):
        if "persistentVolumeClaim" not in entry:
            continue
        name = entry["persistentVolumeClaim"]["claimName"]
        claim = cluster.store.get(claims, pod["metadata"]["namespace"], name)
        if claim is None:
            raise UnboundError(f'persistentvolumeclaim "{name}" not found')
        if "deletionTimestamp" in claim["metadata"]:
            raise UnboundError(f'persistentvolumeclaim "{name}" is being deleted')
        volume = cluster.store.get(volumes, "", claim["spec"].get("volumeName", ""))
        if phase(claim) != "Bound" or volume is None:
            raise UnboundError("pod has unbound immediate PersistentVolumeClaims")
        result.append(volume)
    return result


def refusal(seen: Situation, node: Json) -> str | None:
    """Return why this node cannot take the pod; None if it can."""
    return next((reason for check, reason in FILTERS if not check(seen, node)), None)


def _schedulable(seen: Situation, node: Json) -> bool:
    return not node.get("spec", {}).get("unschedulable") or _tolerated(seen.pod, UNSCHEDULABLE)


def _taints_tolerated(seen: Situation, node: Json) -> bool:
    taints = node.get("spec", {}).get("taints") or ()
    return all(_tolerated(seen.pod, taint) for taint in taints if taint["effect"] != "PreferNoSchedule")


def _tolerated(pod: Json, taint: Json) -> bool:
    return any(tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations", ()))


def _selected(seen: Situation, node: Json) -> bool:
    labels = labels_of(node)
    wanted = seen.pod["spec"].get("nodeSelector") or {}
    affinity = ((seen.pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(HARD)
    exact = all(labels.get(key) == value for key, value in wanted.items())
    return exact and _matches_terms(affinity, node)


def _matches_terms(selector: Json | None, node: Json) -> bool:
    """Judge a NodeSelector: its terms are alternatives."""
    if selector is None:
        return True
    name = {"metadata.name": node["metadata"]["name"]}
    return any(
        matches_selector({"matchExpressions": term.get("matchExpressions")}, labels_of(node))
        and matches_selector({"matchExpressions": term.get("matchFields")}, name)
        for term in selector["nodeSelectorTerms"]
        if term.get("matchExpressions") or term.get("matchFields")
    )


def _volumes_reachable(seen: Situation, node: Json) -> bool:
    affinities = ((volume["spec"].get("nodeAffinity") or {}).get("required") for volume in seen.volumes)
    return all(_matches_terms(affinity, node) for affinity in affinities)


def _own_anti_affinity(seen: Situation, node: Json) -> bool:
    return not _is_within(node, seen.avoided)


def _others_anti_affinity(seen: Situation, node: Json) -> bool:
    return not _is_within(node, seen.closed)


def _is_within(node: Json, domains: Iterable[Domain]) -> bool:
    labels = labels_of(node)
    return any(labels.get(key) == value for key, value in domains)


def _single_writer_free(seen: Situation, _node: Json) -> bool:
    return seen.single_writer_free


FILTERS: tuple[tuple[Callable[[Situation, Json], bool], str], ...] = (
    (_schedulable, "node(s) were unschedulable"),
    (_taints_tolerated, "node(s) had untolerated taint(s)"),
    (_selected, "node(s) didn't match Pod's node affinity/selector"),
    (
        _single_writer_free,
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by "
        "another pod",
    ),
    (_volumes_reachable, "node(s) didn't match PersistentVolume's node affinity"),
    (_own_anti_affinity, "node(s) didn't match pod anti-affinity rules"),
    (_others_anti_affinity, "node(s) didn't satisfy existing pods anti-affinity rules"),
)
