"""What a node knows about its pods apart from the API: it plays containerd's and the kubelet's own memory.

A node agent that is stopped leaves its pods running; started again it finds them here, restart counts included.
"""

from __future__ import annotations

import datetime
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.nodes.launcher import Process
from lab.nodes.network import Sandbox

Json = dict[str, Any]

STABLE_AFTER = 20.0
"""A run of so many seconds ends a series of failures: the next restart waits for nothing."""


def now() -> datetime.datetime:
    """The current time, with its zone."""
    return datetime.datetime.now(datetime.UTC)


def timestamp(moment: datetime.datetime) -> str:
    """A time as the API writes it, in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Terminated:
    """How one run of a container ended."""

    exit_code: int
    reason: str
    started_at: datetime.datetime
    finished_at: datetime.datetime
    container_id: str
    message: str = ""


@dataclass
class ContainerRecord:
    """One container over all its runs."""

    name: str
    process: Process | None = None
    container_id: str = ""
    started_at: datetime.datetime = field(default_factory=now)
    finished: Terminated | None = None
    last: Terminated | None = None
    restarts: int = 0
    ready: bool = False
    waiting: str = "ContainerCreating"
    waiting_message: str = ""
    log: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    failures_in_a_row: int = 0

    @property
    def running(self) -> bool:
        """Whether its current run goes on."""
        return self.process is not None and self.process.running

    def began(self, process: Process) -> None:
        """A run started: the first, or another after the end of the one before."""
        if self.container_id:
            self.restarts += 1
        self.last = self.finished or self.last
        self.process, self.finished, self.ready = process, None, False
        self.container_id = f"lab://{uuid.uuid4().hex}"
        self.started_at = now()
        self.waiting = self.waiting_message = ""

    def ended(self, exit_code: int) -> None:
        """The current run ended."""
        reason = "Completed" if exit_code == 0 else "Error"
        self._finish(Terminated(exit_code, reason, self.started_at, now(), self.container_id))

    def not_started(self, message: str) -> None:
        """A run could not start: no such program, for example."""
        moment = now()
        if self.container_id:
            self.restarts += 1
        self.last = self.finished or self.last
        self.container_id = f"lab://{uuid.uuid4().hex}"
        self._finish(Terminated(128, "StartError", moment, moment, self.container_id, message))

    def _finish(self, terminated: Terminated) -> None:
        self.finished = terminated
        self.process, self.ready = None, False
        lasted = (terminated.finished_at - terminated.started_at).total_seconds()
        self.failures_in_a_row = 1 if lasted > STABLE_AFTER else self.failures_in_a_row + 1


@dataclass
class PodRecord:
    """One pod that this node runs, or ran until a moment ago."""

    pod: Json
    uid: str
    namespace: str
    name: str
    hostname: str
    subdomain: str
    started_at: datetime.datetime = field(default_factory=now)
    sandbox: Sandbox | None = None
    containers: dict[str, ContainerRecord] = field(default_factory=dict)
    conditions: dict[str, Json] = field(default_factory=dict)
    ending: bool = False
    running_since: float = 0.0

    @classmethod
    def of(cls, pod: Json) -> PodRecord:
        """A record for a pod that has just been bound to this node."""
        metadata, spec = pod["metadata"], pod["spec"]
        containers = {item["name"]: ContainerRecord(item["name"]) for item in spec["containers"]}
        return cls(
            pod=pod,
            uid=metadata["uid"],
            namespace=metadata["namespace"],
            name=metadata["name"],
            hostname=spec.get("hostname") or metadata["name"],
            subdomain=spec.get("subdomain", ""),
            containers=containers,
        )

    @property
    def age(self) -> float:
        """For how many seconds something has run under the pod's address."""
        return time.monotonic() - self.running_since if self.running_since else 0.0

    @property
    def address(self) -> str:
        """The pod's address, or nothing before it has one."""
        return self.sandbox.address if self.sandbox else ""

    @property
    def processes(self) -> list[Process]:
        """The processes of its containers that run."""
        return [item.process for item in self.containers.values() if item.process and item.process.running]
