"""Eviction: a deletion that a PodDisruptionBudget may refuse.

The arithmetic is the real one's, bug for bug: a pod that is not Ready may go while the budget is healthy,
although no disruption is allowed; two budgets over one pod make every eviction fail; a pending or ended pod
is not guarded.
"""

from __future__ import annotations

from typing import Any

from lab.control_plane.simulated import errors
from lab.control_plane.simulated.clock import timestamp
from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.deletion import check_preconditions, delete
from lab.control_plane.simulated.pod_status import is_ready, set_condition
from lab.control_plane.simulated.selectors import labels_of, matches_selector

Json = dict[str, Any]
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
TWO_BUDGETS = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
)


def evict(cluster: Cluster, namespace: str, name: str, eviction: Json, *, dry_run: bool = False) -> Json:
    """Evict a pod if its budget allows; raise what the API server answers if not."""
    said = (eviction.get("metadata") or {}).get("name")
    if said != name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    options = dict(eviction.get("deleteOptions") or {})
    dry_run = dry_run or bool(options.get("dryRun"))
    pods = cluster.resource("pods")
    pod = cluster.get(pods, namespace, name)
    if not _unguarded(pod):
        _ask_budget(cluster, pod, dry_run=dry_run)
    if not dry_run:
        _mark_disrupted(cluster, pod, options)
    delete(cluster, pods, namespace, name, _without_version(options), dry_run=dry_run)
    return errors.success() | {"code": 201}


def _unguarded(pod: Json) -> bool:
    phase = pod.get("status", {}).get("phase")
    return phase in ("Pending", "Succeeded", "Failed") or "deletionTimestamp" in pod["metadata"]


def _ask_budget(cluster: Cluster, pod: Json, *, dry_run: bool) -> None:
    budgets = cluster.resource("poddisruptionbudgets", "policy")
    found = [
        budget
        for budget in cluster.store.list(budgets, pod["metadata"]["namespace"])
        if matches_selector(budget["spec"].get("selector"), labels_of(pod))
    ]
    if len(found) > 1:
        raise errors.internal(TWO_BUDGETS)
    if found and not _may_go_unready(pod, found[0]):
        _decrement(cluster, pod, found[0], dry_run=dry_run)


def _may_go_unready(pod: Json, budget: Json) -> bool:
    if is_ready(pod):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget["status"]
    healthy, desired = int(status.get("currentHealthy", 0)), int(status.get("desiredHealthy", 0))
    return healthy >= desired > 0


def _decrement(cluster: Cluster, pod: Json, budget: Json, *, dry_run: bool) -> None:
    name, status = budget["metadata"]["name"], budget["status"]
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", retry=10)
    if status["disruptionsAllowed"] <= 0:
        desired, current = status["desiredHealthy"], status["currentHealthy"]
        raise _too_many(
            f"The disruption budget {name} needs {desired} healthy pods and has {current} currently"
        )
    if dry_run:
        return

    def take_one(draft: Json) -> None:
        draft["status"]["disruptionsAllowed"] -= 1
        draft["status"].setdefault("disruptedPods", {})[pod["metadata"]["name"]] = timestamp()

    cluster.change(cluster.resource("poddisruptionbudgets", "policy"), budget, take_one, status=True)


def _too_many(cause: str, retry: int = 0) -> errors.StatusError:
    details: Json = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if retry:
        details["retryAfterSeconds"] = retry
    return errors.StatusError(429, "TooManyRequests", REFUSED, details)


def _mark_disrupted(cluster: Cluster, pod: Json, options: Json) -> None:
    """Write the condition that says who took the pod away; the preconditions are checked here first."""
    pods = cluster.resource("pods")
    check_preconditions(pods, pod, options)
    condition = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    cluster.change(
        pods,
        pod,
        lambda draft: set_condition(draft, "DisruptionTarget", "True", **condition),
        status=True,
    )


def _without_version(options: Json) -> Json:
    """Drop the version precondition: the condition just written has changed the version."""
    preconditions = {
        key: value for key, value in (options.get("preconditions") or {}).items() if key != "resourceVersion"
    }
    return {**options, "preconditions": preconditions}
