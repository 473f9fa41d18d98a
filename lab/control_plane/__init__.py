"""The control plane of the lab: a real one from KUBEBUILDER_ASSETS, or a simulated one of our own.

Both are started the same way, answer the same API and are held to the same tests (tests/lab). Either runs on
the host's loopback, for those tests, or inside the lab's network namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lab.processes import Component


class ControlPlane(Protocol):
    """What the rest of the lab, and the tests, need to know of a control plane."""

    version: str
    """`v1.34.4`, or `simulated`; known once it has started."""
    url: str
    """Where it answers, seen from the process that started it; known once it has started."""
    kubeconfig: Path
    """The administrator's kubeconfig (group system:masters) for that address."""

    @property
    def components(self) -> Mapping[str, Component]:
        """Its processes by name, `kube-apiserver` in both kinds, for faults: kill, pause, start again."""

    async def start(self) -> None:
        """Start it and return when its API answers and its controllers work."""

    async def until_ready(self) -> None:
        """Wait until the API server answers, after a component was started again."""

    async def stop(self) -> None:
        """End everything it started."""


class ControlPlaneFailed(Exception):
    """A control plane did not come up; the message ends with the log's last lines."""
