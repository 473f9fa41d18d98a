"""What Temporal knows of the run that holds a record: a Protocol, so that no activity reaches a client.

A record alone cannot tell a run that works slowly from one that was ended from outside; acting on the wrong
answer would put things back under a living run. So whatever is not certain is `UNKNOWN`, and nobody acts on that.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from replace_etcd.models.record import Record
from replace_etcd.models.result import Outcome


class Chain(StrEnum):
    """How a workflow stands, over all its resets (docs/contract.md, Fencing, 6)."""

    RUNNING = "running"
    CLOSED = "closed"
    SUCCEEDED_BY = "succeeded by another run that is under way"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class UntoldEnd:
    """The end of a run that could not tell it itself."""

    outcome: Outcome
    reason: str


class ReplacementRuns(Protocol):
    """The runs of the Temporal that this worker serves."""

    async def state_of(self, record: Record) -> Chain:
        """How the chain that a record names stands; `UNKNOWN` where its own Temporal does not say so itself."""

    async def cancel(self, workflow_id: str, run_id: str) -> None:
        """Ask for a cancel of one of our own runs; one that has ended is left as it is."""

    async def is_newest(self, workflow_id: str, run_id: str) -> bool | None:
        """Whether one of our own runs is the newest of its id: a reset makes a new one; None where nobody can tell."""

    async def untold_end(self, workflow_id: str, run_id: str) -> UntoldEnd | None:
        """How one of our own runs ended without telling it; None where it tells it, runs, or nobody can tell."""

    async def is_restored(self, user_cluster: str, run_id: str) -> bool:
        """Whether a restoration is at work there, or has put back what this run has left: its end is told by that.

        True where nobody can tell: whoever asks comes again.
        """
