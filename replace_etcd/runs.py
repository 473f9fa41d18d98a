"""What Temporal knows of the run that holds a record: a Protocol, so that no activity reaches a client.

A record alone cannot tell a run that works slowly from one that was ended from outside; acting on the wrong
answer would put things back under a living run. So whatever is not certain is `UNKNOWN`, and nobody acts on that.
"""

from enum import StrEnum
from typing import Protocol

from replace_etcd.models.record import Record


class Chain(StrEnum):
    """How a workflow stands, over all its resets (docs/contract.md, Fencing, 6)."""

    RUNNING = "running"
    CLOSED = "closed"
    SUCCEEDED_BY = "succeeded by another run that is under way"
    UNKNOWN = "unknown"


class ReplacementRuns(Protocol):
    """The runs of the Temporal that this worker serves."""

    async def state_of(self, record: Record) -> Chain:
        """How the chain that a record names stands; `UNKNOWN` where its own Temporal does not say so itself."""

    async def cancel(self, workflow_id: str, run_id: str) -> None:
        """Ask for a cancel of one of our own runs; one that has ended is left as it is."""

    async def is_newest(self, workflow_id: str, run_id: str) -> bool | None:
        """Whether one of our own runs is the newest of its id: a reset makes a new one; None where nobody can tell."""

    async def was_ended_from_outside(self, workflow_id: str, run_id: str) -> bool:
        """Whether one of our own runs was terminated, so that it told no end; False where nobody can tell."""
