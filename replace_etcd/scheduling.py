"""Which nodes could take a pod, by what its spec and its volume require; pure.

Only what is *required* counts, as in the scheduler's filters
(https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/); room for one more pod does not: an
answer here says "could not", never "would".
"""

from collections.abc import Callable
from typing import Any

from replace_etcd.cluster import Object

HOSTNAME = "kubernetes.io/hostname"
KEEPS_OUT = ("NoSchedule", "NoExecute")
_COMPARE: dict[str, Callable[[str | None, list[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": lambda value, values: value is not None and int(value) > int(values[0]),
    "Lt": lambda value, values: value is not None and int(value) < int(values[0]),
}


def obstacles(
    pod: Object, node: Object, volume: Object | None, others: list[Object], nodes: list[Object]
) -> list[str]:
    """What keeps a pod off a node; `others` are the pods that its anti-affinity may mean, `nodes` all nodes."""
    spec, labels = pod["spec"], _labels(node)
    found = []
    if volume is not None and not volume_fits(volume, node):
        found.append("the volume's node affinity")
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        found.append("its node selector")
    if not _selected(_required(spec, "nodeAffinity"), node):
        found.append("its node affinity")
    if _repelled(pod, node, others, nodes):
        found.append("its anti-affinity")
    return found + _kept_out(spec, node)


def volume_fits(volume: Object, node: Object) -> bool:
    """Whether a PersistentVolume may be used on a node: one without node affinity may be anywhere."""
    return _selected((volume["spec"].get("nodeAffinity") or {}).get("required"), node)


def soft_anti_affinity(pod: Object) -> bool:
    """Whether its anti-affinity is only a preference, so that it may come to lie beside another member."""
    anti = (pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
    return not anti.get("requiredDuringSchedulingIgnoredDuringExecution")


def _required(spec: Object, kind: str) -> Any:
    affinity = (spec.get("affinity") or {}).get(kind) or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution")


def _selected(selector: Object | None, node: Object) -> bool:
    """A node selector: one of its terms has to hold, and in a term everything."""
    if selector is None:
        return True
    name = {"metadata.name": node["metadata"]["name"]}
    return any(
        _holds(term.get("matchExpressions") or [], _labels(node))
        and _holds(term.get("matchFields") or [], name)
        for term in selector["nodeSelectorTerms"]
        if term.get("matchExpressions") or term.get("matchFields")
    )


def _holds(requirements: list[Object], labels: dict[str, str]) -> bool:
    return all(_COMPARE[r["operator"]](labels.get(r["key"]), r.get("values") or []) for r in requirements)


def _repelled(pod: Object, node: Object, others: list[Object], nodes: list[Object]) -> bool:
    """Whether a required anti-affinity finds a pod that it means in the node's topology domain."""
    domains = {n["metadata"]["name"]: _labels(n) for n in nodes}
    for term in _required(pod["spec"], "podAntiAffinity") or []:
        key = term["topologyKey"]
        mine = _labels(node).get(key)
        for other in others:
            where = domains.get(other["spec"].get("nodeName") or "", {}).get(key)
            if mine is not None and where == mine and _means(term.get("labelSelector") or {}, _labels(other)):
                return True
    return False


def _means(selector: Object, labels: dict[str, str]) -> bool:
    exact = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in exact) and _holds(
        selector.get("matchExpressions") or [], labels
    )


def _kept_out(spec: Object, node: Object) -> list[str]:
    """Taints without a toleration; a cordon is one, whether or not its taint is there yet."""
    taints = [taint for taint in node["spec"].get("taints") or [] if taint["effect"] in KEEPS_OUT]
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if node["spec"].get("unschedulable") and not any(taint["key"] == cordon["key"] for taint in taints):
        taints.append(cordon)
    return [
        f"the taint {taint['key']}"
        for taint in taints
        if not any(_tolerates(toleration, taint) for toleration in spec.get("tolerations") or [])
    ]


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    same = toleration.get("key") == taint["key"]
    return same and (toleration.get("value") or "") == (taint.get("value") or "")


def _labels(found: Object) -> dict[str, str]:
    return found["metadata"].get("labels") or {}
