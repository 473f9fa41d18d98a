"""How slow a real node is, where slowness decides what happens.

A lab without these delays is too kind: a member that is started too early is found out before anybody took it for
Ready, and the runbook as it is written loses no quorum. While a lab comes up nobody wants to wait for them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Pace:
    """The delays of one lab, shared by its nodes; `like_a_cluster` turns them on."""

    dns: float = 0.0
    """The DNS does not know a new pod's address at once: its peers refuse it until then."""
    notice: float = 0.0
    """A node does not see a container's start at once: a run that is shorter is never Ready."""
    restart: float = 0.0
    """A container that ended is started again after a moment, also the first time."""
    tear_down: float = 0.0
    """From the end of a pod's containers to the end of the object: volumes, cgroups."""

    def like_a_cluster(self) -> None:
        """About what was measured on three nodes with kubelet and containerd (docs/lab.md)."""
        self.dns, self.notice, self.restart, self.tear_down = 1.4, 0.5, 1.4, 0.5
