"""The disruption controller: how many pods of a PodDisruptionBudget are healthy, and how many may go.

Healthy means Ready, whatever the application thinks. `maxUnavailable` and percentages are counted against the
scale of the pods' controllers, a whole number of `minAvailable` against the pods that are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lab.control_plane.simulated.clock import seconds_since
from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.pod_status import controller_of, is_ready, is_terminating, set_condition
from lab.control_plane.simulated.selectors import labels_of, matches_selector
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]

BELIEVED_GONE = 120.0  # an evicted pod counts as disrupted for this long, until it is seen to go
SCALED = {"StatefulSet": "statefulsets", "ReplicaSet": "replicasets", "Deployment": "deployments"}


class UnknownControllerError(Exception):
    """A pod's controller has no scale to count against."""


class DisruptionController(Controller):
    """Keys are (namespace, name) of budgets."""

    def keys(self, change: Change) -> Iterable[tuple[str, str]]:
        """Look at a budget when it changes, and at all of a namespace when its pods do; a new scale waits."""
        if change.resource.qualified == "poddisruptionbudgets.policy" and change.type != "DELETED":
            yield change.namespace, change.name
        if change.resource.qualified == "pods":
            budgets = self.cluster.resource("poddisruptionbudgets", "policy")
            for budget in self.store.list(budgets, change.namespace):
                yield change.namespace, budget["metadata"]["name"]

    def sync(self, key: tuple[str, str]) -> float | None:
        """Count, and write the budget's status."""
        budgets = self.cluster.resource("poddisruptionbudgets", "policy")
        budget = self.store.get(budgets, *key)
        if budget is None:
            return None
        pods = [
            pod
            for pod in self.store.list(self.cluster.resource("pods"), key[0])
            if matches_selector(budget["spec"].get("selector"), labels_of(pod))
        ]
        disrupted = self._still_disrupted(budget, pods)
        try:
            expected, desired = self._expected_and_desired(budget, pods)
        except UnknownControllerError as error:
            self._fail_safe(budget, str(error))
            return None
        healthy = sum(1 for pod in pods if _counts(pod, disrupted))
        allowed = max(0, healthy - desired) if expected > 0 else 0
        counts = {"currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected}
        self._write(budget, {**counts, "disruptionsAllowed": allowed}, disrupted)
        return BELIEVED_GONE if disrupted else None

    def _expected_and_desired(self, budget: Json, pods: list[Json]) -> tuple[int, int]:
        spec = budget["spec"]
        if (allowed := spec.get("maxUnavailable")) is not None:
            expected = self._scale(pods)
            return expected, max(0, expected - _scaled(allowed, expected))
        wanted = spec.get("minAvailable", 0)
        if isinstance(wanted, int):
            return len(pods), wanted
        expected = self._scale(pods)
        return expected, _scaled(wanted, expected)

    def _scale(self, pods: list[Json]) -> int:
        """Add up the replicas of all controllers that these pods have; pods without one do not count."""
        scales: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is None or owner["uid"] in scales:
                continue
            plural = SCALED.get(owner["kind"])
            found = plural and self.store.get(
                self.cluster.resource(plural, "apps"), pod["metadata"]["namespace"], owner["name"]
            )
            if not found or found["metadata"]["uid"] != owner["uid"]:
                name = pod["metadata"]["name"]
                raise UnknownControllerError(f'found no controllers for pod "{name}"')
            scales[owner["uid"]] = found["spec"]["replicas"]
        return sum(scales.values())

    def _still_disrupted(self, budget: Json, pods: list[Json]) -> dict[str, str]:
        """Keep those evicted pods in mind that are neither seen to go nor overdue."""
        noted = budget.get("status", {}).get("disruptedPods") or {}
        there = {pod["metadata"]["name"] for pod in pods if not is_terminating(pod)}
        return {
            name: since
            for name, since in noted.items()
            if name in there and seconds_since(since) < BELIEVED_GONE
        }

    def _write(self, budget: Json, counts: dict[str, int], disrupted: dict[str, str]) -> None:
        def edit(draft: Json) -> None:
            conditions = {"conditions": draft.get("status", {}).get("conditions") or []}
            observed = {"observedGeneration": draft["metadata"]["generation"]}
            draft["status"] = {**counts, **observed, **conditions}
            if disrupted:
                draft["status"]["disruptedPods"] = disrupted
            enough = counts["disruptionsAllowed"] > 0
            _allowed_condition(draft, "SufficientPods" if enough else "InsufficientPods", enough=enough)

        resource = self.cluster.resource("poddisruptionbudgets", "policy")
        self.cluster.change(resource, budget, edit, status=True)

    def _fail_safe(self, budget: Json, message: str) -> None:
        """Allow nothing when the count cannot be made."""

        def edit(draft: Json) -> None:
            draft["status"]["disruptionsAllowed"] = 0
            _allowed_condition(draft, "SyncFailed", enough=False, message=message)

        resource = self.cluster.resource("poddisruptionbudgets", "policy")
        self.cluster.change(resource, budget, edit, status=True)


def _counts(pod: Json, disrupted: dict[str, str]) -> bool:
    return not is_terminating(pod) and pod["metadata"]["name"] not in disrupted and is_ready(pod)


def _scaled(value: int | str, total: int) -> int:
    if isinstance(value, int):
        return value
    return math.ceil(int(value.rstrip("%")) * total / 100)


def _allowed_condition(draft: Json, reason: str, *, enough: bool, message: str = "") -> None:
    set_condition(draft, "DisruptionAllowed", "True" if enough else "False", reason=reason, message=message)
    for entry in draft["status"]["conditions"]:
        entry.pop("lastProbeTime", None)
        entry["observedGeneration"] = draft["metadata"]["generation"]
