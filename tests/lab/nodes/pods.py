"""Pods for tests: what runs in them, and the questions that tests ask about their status."""

from __future__ import annotations

from typing import Any

from tests.lab.world import World

Json = dict[str, Any]

OBEDIENT = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]
STUBBORN = ["/bin/sh", "-c", "while :; do sleep 1; done"]
"""A shell that is the first process of its PID namespace ignores SIGTERM unless it says otherwise."""


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def start(world: World, name: str = "p", command: list[str] | None = None, **spec: Any) -> Json:
    """Create a pod on node-1 and wait until it is Ready."""
    await create(world, name, command, **spec)
    return await world.until(ready, "pods", name)


async def create(world: World, name: str = "p", command: list[str] | None = None, **spec: Any) -> Json:
    """Create a pod on node-1."""
    container = {"command": command or OBEDIENT, **spec.pop("container", {})}
    return await world.pod(name, container=container, **{"nodeName": "node-1", **spec})


def ready(pod: Json) -> bool:
    return condition(pod, "Ready") == "True"


def condition(pod: Json, kind: str) -> str | None:
    found = [item["status"] for item in pod["status"].get("conditions", []) if item["type"] == kind]
    return found[0] if found else None


def container_status(pod: Json) -> Json:
    statuses: list[Json] = pod["status"].get("containerStatuses", [])
    return statuses[0] if statuses else {}


def waiting_reason(pod: Json) -> str | None:
    reason: str | None = container_status(pod).get("state", {}).get("waiting", {}).get("reason")
    return reason


def restarts(pod: Json) -> int:
    return int(container_status(pod).get("restartCount", 0))
