"""The story of a run: its schedule, what was done when, what was found; enough to understand and to replay it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.robustness.explorer.schedule import Fault, Schedule
from tests.robustness.explorer.verdict import Excuses

NOT_DONE = ("not there", "met nothing", "too late", "nothing to revert", "too early")
DELETED_BEFORE_THE_BACKUP = "deleted before anybody had a backup"
REMOVAL = re.compile(r"command=member&command=remove&command=([0-9a-f]+)")


@dataclass(frozen=True)
class Event:
    """Something that was done, or that was seen, so many seconds after the start."""

    at: float
    what: str


@dataclass
class RunStory:
    """One run, as it happened."""

    schedule: Schedule
    etcd: str
    clock: Callable[[], float]
    events: list[Event] = field(default_factory=list)
    done: dict[str, list[Fault]] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def tell(self, what: str) -> None:
        """Add an event."""
        self.events.append(Event(self.clock(), what))

    def acted(self, fault: Fault) -> None:
        """A fault has begun: from here on its harm is its own."""
        self.tell(str(fault))
        self.done.setdefault(fault.kind, []).append(fault)

    def became(self, fault: Fault, what: str) -> None:
        """What became of it; where there was nothing that it could be done to, it was not done."""
        self.tell(f"{fault.kind}: {what}")
        self.results.append(what)
        if what in NOT_DONE:
            self.done[fault.kind].remove(fault)
            if not self.done[fault.kind]:
                del self.done[fault.kind]

    def excuses(self) -> Excuses:
        """What a judge has to know of the faults."""
        killed = self.done.get("survivor-kill", [])
        return Excuses(
            killed=frozenset(fault.params["replica"] for fault in killed),
            budget_deleted="kubectl-delete-pdb" in self.done,
            budget_lost=DELETED_BEFORE_THE_BACKUP in self.results,
        )

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def line(self) -> str:
        """The run in one line."""
        ended = " -> ".join(self.outcomes) or "no outcome"
        sign = "clean " if self.clean else "FAILED"
        faults = ", ".join(kind for kind in self.done)
        return (
            f"seed {self.schedule.seed:4d} {sign} etcd {self.etcd} {self.seconds:4.0f} s  {ended}  [{faults}]"
        )

    def text(self) -> str:
        """Everything, for people."""
        lines = [str(self.schedule), "what happened:"]
        lines += [f"  {event.at:6.1f} s  {event.what}" for event in self.events]
        lines += ["found:", *(f"  - {finding}" for finding in self.findings)] if self.findings else []
        return "\n".join(lines)

    def keep(self, directory: Path) -> None:
        """Write it where the logs of the run are."""
        (directory / "story.txt").write_text(f"{self.line()}\n{self.text()}\n")
        summary = {"seed": self.schedule.seed, "etcd": self.etcd, "findings": self.findings}
        (directory / "story.json").write_text(json.dumps(summary | {"outcomes": self.outcomes}))


def removals(commands: list[str]) -> list[str]:
    """The ids in commands to remove a member, as they went over the wire."""
    return [found[1] for command in commands if (found := REMOVAL.search(command))]
