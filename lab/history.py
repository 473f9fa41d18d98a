"""Remembers what happened to the user cluster's pods and its PodDisruptionBudget, by watching the API.

The judge asks afterwards; what came and went in between would be missed by looking only at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from lab.fixture.names import DISRUPTION_BUDGET, NAMESPACE
from lab.judge import Presence, Sighting
from lab.kube_client import Json, KubeClient
from lab.nodes.tasks import cancelled


def restart_count(pod: Json) -> int:
    """How often the pod's containers were restarted."""
    return sum(item["restartCount"] for item in pod.get("status", {}).get("containerStatuses", []))


class History:
    """Two watches; it starts when the lab is whole and goes on until its end."""

    def __init__(self, client: KubeClient, replicas: Collection[str]) -> None:
        self._client = client
        self._replicas = replicas
        self._tasks: list[asyncio.Task[None]] = []
        self._clock = asyncio.get_running_loop().time
        self.sightings: list[Sighting] = []
        self.presences: list[Presence] = []

    def start(self) -> None:
        """Begin to watch."""
        for resource, take in (("pods", self._pod), ("poddisruptionbudgets", self._budget)):
            self._tasks.append(asyncio.create_task(self._client.follow(resource, NAMESPACE, take)))

    async def stop(self) -> None:
        """End the watches."""
        await cancelled(*self._tasks)

    def _pod(self, kind: str, pod: Json) -> None:
        if pod["metadata"]["name"] in self._replicas:
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            seen = Sighting(name, uid, restart_count(pod), deleted=kind == "DELETED")
            if seen not in self.sightings[-len(self._replicas) :]:
                self.sightings.append(seen)

    def _budget(self, kind: str, budget: Json) -> None:
        if budget["metadata"]["name"] == DISRUPTION_BUDGET:
            present = kind != "DELETED"
            if not self.presences or self.presences[-1].present != present:
                self.presences.append(Presence(self._clock(), present))
