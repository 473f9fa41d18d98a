"""The StatefulSet controller, a port of the decisions of the real one (1.34, MaxUnavailableStatefulSet off).

Its order is the real one's, and its traps with it: under OrderedReady the first pod that is not Ready stops
everything behind it, and nothing that is missing behind it is created; a rollout goes from the highest
ordinal down, consults neither budgets nor the health of the application, and waits only for Ready.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.controllers.recorder import record
from lab.control_plane.simulated.controllers.revisions import current_and_update, truncate
from lab.control_plane.simulated.controllers.stateful_pods import (
    create_missing_claims,
    new_pod,
    ordinal_of,
    revision_of,
)
from lab.control_plane.simulated.deletion import delete
from lab.control_plane.simulated.pod_status import (
    controller_of,
    is_available,
    is_ready,
    is_terminating,
    phase,
)
from lab.control_plane.simulated.store import Change

Json = dict[str, Any]
SOURCE = "statefulset-controller"
RETRY_SECONDS = 1.0


@dataclass
class _Round:
    """What one look at a StatefulSet works on."""

    sts: Json
    current: Json
    update: Json
    pods: list[Json]
    replicas: list[Json] = field(default_factory=list)
    condemned: list[Json] = field(default_factory=list)
    deleted_for_update: int = 0
    again_after: float = 0.0

    @property
    def spec(self) -> Json:
        spec: Json = self.sts["spec"]
        return spec

    @property
    def ordered(self) -> bool:
        return bool(self.spec["podManagementPolicy"] != "Parallel")

    @property
    def start(self) -> int:
        return int((self.spec.get("ordinals") or {}).get("start", 0))


class StatefulSetController(Controller):
    """Keys are (namespace, name) of StatefulSets."""

    def keys(self, change: Change) -> Iterable[tuple[str, str]]:
        """Look at a set when it or one of its pods changes."""
        if change.resource.qualified == "statefulsets.apps" and change.type != "DELETED":
            yield change.namespace, change.name
        if change.resource.qualified == "pods":
            owner = controller_of(change.object)
            if owner and owner["kind"] == "StatefulSet":
                yield change.namespace, owner["name"]

    def sync(self, key: tuple[str, str]) -> float | None:
        """Bring one set a step further, then write its status."""
        resource = self.cluster.resource("statefulsets", "apps")
        sts = self.store.get(resource, *key)
        if sts is None:
            return None
        pods = self._owned_pods(sts)
        current, update = current_and_update(self.cluster, sts)
        work = _Round(sts, current, update, pods)
        self._partition(work)
        if not is_terminating(sts):
            self._act(work)
        self._write_status(work)
        truncate(self.cluster, sts, pods, current, update)
        return work.again_after or float(work.spec.get("minReadySeconds", 0)) or None

    def _owned_pods(self, sts: Json) -> list[Json]:
        found = self.store.list(self.cluster.resource("pods"), sts["metadata"]["namespace"])
        uid = sts["metadata"]["uid"]
        return [pod for pod in found if (controller_of(pod) or {}).get("uid") == uid]

    def _partition(self, work: _Round) -> None:
        """Sort the pods into those that are wanted, made up where they are missing, and those that are not."""
        by_ordinal = {ordinal_of(pod["metadata"]["name"]): pod for pod in work.pods}
        wanted = range(work.start, work.start + work.spec["replicas"])
        work.replicas = [
            by_ordinal.get(ordinal) or new_pod(work.sts, work.current, work.update, ordinal)
            for ordinal in wanted
        ]
        extra = sorted(
            (ordinal for ordinal in by_ordinal if ordinal not in wanted and ordinal >= 0), reverse=True
        )
        work.condemned = [by_ordinal[ordinal] for ordinal in extra]

    def _act(self, work: _Round) -> None:
        for index in range(len(work.replicas)):
            if self._blocked_by(work, index) and work.ordered:
                return
        if self._scale_down(work):
            return
        if work.spec["updateStrategy"]["type"] != "OnDelete":
            self._roll(work)

    def _blocked_by(self, work: _Round, index: int) -> bool:
        """Create or replace one replica; say whether those behind it must wait for it."""
        pod = work.replicas[index]
        if phase(pod) in ("Failed", "Succeeded"):
            if not is_terminating(pod):
                self._delete(work, pod)
            return True
        if not phase(pod):
            self._create(work, index)
            return True
        if phase(pod) == "Pending":
            create_missing_claims(self.cluster, work.sts, ordinal_of(pod["metadata"]["name"]))
        return is_terminating(pod) or not self._available(work, pod)

    def _scale_down(self, work: _Round) -> bool:
        first_unavailable = next(
            (pod for pod in (*work.replicas, *reversed(work.condemned)) if self._unavailable(work, pod)), None
        )
        for pod in work.condemned:
            if is_terminating(pod):
                if work.ordered:
                    return True
                continue
            if work.ordered and not self._available(work, pod) and pod is not first_unavailable:
                return True
            self._delete(work, pod)
            if work.ordered:
                return True
        return False

    def _roll(self, work: _Round) -> None:
        """Delete the highest pod that is not at the update revision, unless one above it is still coming up."""
        rolling = work.spec["updateStrategy"].get("rollingUpdate") or {}
        for pod in reversed(work.replicas[int(rolling.get("partition", 0)) :]):
            if revision_of(pod) != work.update["metadata"]["name"] and not is_terminating(pod):
                self._delete(work, pod)
                work.deleted_for_update = 1
                return
            if self._unavailable(work, pod):
                return

    def _available(self, work: _Round, pod: Json) -> bool:
        seconds: int = work.spec.get("minReadySeconds", 0)
        return phase(pod) == "Running" and is_ready(pod) and is_available(pod, seconds)

    def _unavailable(self, work: _Round, pod: Json) -> bool:
        return not self._available(work, pod) or is_terminating(pod)

    def _create(self, work: _Round, index: int) -> None:
        pod = work.replicas[index]
        if going := create_missing_claims(self.cluster, work.sts, ordinal_of(pod["metadata"]["name"])):
            name = pod["metadata"]["name"]
            set_name = work.sts["metadata"]["name"]
            message = (
                f"create Pod {name} in StatefulSet {set_name} failed error: pvc {going} is being deleted"
            )
            record(self.cluster, work.sts, "FailedCreate", message, SOURCE)
            work.again_after = RETRY_SECONDS
            return
        body = {key: value for key, value in pod.items() if key != "status"}
        self.cluster.create(self.cluster.resource("pods"), work.sts["metadata"]["namespace"], body)
        self._tell(work, "create", pod)

    def _delete(self, work: _Round, pod: Json) -> None:
        metadata = pod["metadata"]
        delete(self.cluster, self.cluster.resource("pods"), metadata["namespace"], metadata["name"])
        self._tell(work, "delete", pod)

    def _tell(self, work: _Round, verb: str, pod: Json) -> None:
        name = work.sts["metadata"]["name"]
        message = f"{verb} Pod {pod['metadata']['name']} in StatefulSet {name} successful"
        record(self.cluster, work.sts, f"Successful{verb.title()}", message, SOURCE)

    def _write_status(self, work: _Round) -> None:
        status = self._status(work)
        complete = (
            work.spec["updateStrategy"]["type"] == "RollingUpdate"
            and status["updatedReplicas"]
            == status["readyReplicas"]
            == status["replicas"]
            == work.spec["replicas"]
        )
        if complete:
            status["currentReplicas"] = status["updatedReplicas"]
            status["currentRevision"] = status["updateRevision"]
        shown = {
            key: value for key, value in status.items() if value or key in ("replicas", "availableReplicas")
        }
        shown["collisionCount"] = 0
        self.cluster.change(
            self.cluster.resource("statefulsets", "apps"),
            work.sts,
            lambda draft: draft.update(status=shown),
            status=True,
        )

    def _status(self, work: _Round) -> Json:
        """Count the pods as they were seen, with the one that this round deleted for the update taken off."""
        pods = [pod for pod in (*work.replicas, *work.condemned) if phase(pod)]
        ready = [pod for pod in pods if phase(pod) == "Running" and is_ready(pod)]
        staying = [revision_of(pod) for pod in pods if not is_terminating(pod)]
        names = [revision["metadata"]["name"] for revision in (work.current, work.update)]
        return {
            "observedGeneration": work.sts["metadata"]["generation"],
            "replicas": len(pods),
            "readyReplicas": len(ready),
            "availableReplicas": sum(1 for pod in ready if self._available(work, pod)),
            "currentReplicas": staying.count(names[0]) - work.deleted_for_update,
            "updatedReplicas": staying.count(names[1]),
            "currentRevision": names[0],
            "updateRevision": names[1],
        }
