"""The cells of the fault matrix: each activity, on the way that leads to it, times each fault.

Which activities there are, and what each one changes first, is taken from recorded runs: a new activity is covered
by itself. Many cells can share one replacement, as long as it goes on after each: stories are packed of them. A story
that fails is taken apart, and its cells are played alone, so that the one that is wrong has a name.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote_plus

from tests.robustness.proxy import Call

RECORD = "/configmaps"
READS = (("member", "list"), ("endpoint",), ("alarm", "list"), ("auth", "status"), ("get",))


class Way(StrEnum):
    """Where a replacement is led, so that it comes by an activity."""

    FORWARD = "forward"
    BACK = "back"
    HELD = "held"


class Fault(StrEnum):
    """The columns of the table."""

    FAILS = "fails before its effect"
    LOST = "effect, answer lost"
    KILLED = "worker killed"
    TWIN = "twin"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TERMINATED_AFTER = "terminated after"
    RESET = "reset to before"
    HTTP_500 = "500"
    HTTP_409 = "409"
    HTTP_403 = "403"
    HTTP_429 = "429"
    CONNECTION_RESET = "connection reset"
    DROPPED = "exec dropped"


QUICK = (Fault.FAILS, Fault.HTTP_500, Fault.HTTP_409, Fault.HTTP_429)
WAITING = (Fault.LOST, Fault.TWIN, Fault.CONNECTION_RESET, Fault.DROPPED)
"""What such a fault leaves unknown has to be waited out."""
MAY_END = (Fault.CANCELLED, Fault.HTTP_403)
"""The replacement may end with it."""
ANEW = (Fault.TERMINATED, Fault.TERMINATED_AFTER, Fault.RESET)
"""Something has to be started anew."""


class Effect(StrEnum):
    """What an activity changes: an object or etcd, only the record, or nothing."""

    CHANGE = "change"
    RECORD = "record"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Row:
    """An activity on a way, its place there, and what of it a fault can meet."""

    way: Way
    activity: str
    place: int
    effect: Effect
    has_exec: bool
    is_last: bool = False

    def is_effect(self, call: Call) -> bool:
        """Whether a request is the one that a fault is for: the activity's first change, or its first look."""
        if call.activity != self.activity or not call.namespace:
            return False
        if self.effect is Effect.NOTHING:
            return not call.is_watch
        return effect_of(call) is self.effect

    def is_command(self, call: Call) -> bool:
        """Whether a request is a command of the activity, a changing one where it has such."""
        if call.activity != self.activity or not call.is_exec:
            return False
        return (
            self.effect is not Effect.CHANGE or not self.changes_by_exec or effect_of(call) is Effect.CHANGE
        )

    changes_by_exec: bool = False


@dataclass(frozen=True)
class Cell:
    """One field of the table."""

    row: Row
    fault: Fault

    @property
    def name(self) -> str:
        """How it is called in reports."""
        return f"{self.row.way}/{self.row.activity} x {self.fault}"


@dataclass(frozen=True)
class Story:
    """Cells that one replacement goes through, in the order in which it comes by."""

    way: Way
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """Every cell of it."""
        return "; ".join(cell.name for cell in self.cells)


def command_of(call: Call) -> list[str]:
    """The words of an exec."""
    return [unquote_plus(word) for word in re.findall(r"command=([^&]*)", call.path)]


def effect_of(call: Call) -> Effect:
    """What a request changes."""
    if call.is_exec:
        words = [word for word in command_of(call) if not word.startswith("-")]
        if words[0] == "cat":
            return Effect.NOTHING
        reads = words[0] == "etcdctl" and any(tuple(words[1 : 1 + len(read)]) == read for read in READS)
        return Effect.NOTHING if reads else Effect.CHANGE
    if call.method == "GET" or "selfsubjectaccessreviews" in call.path or "dryRun=All" in call.path:
        return Effect.NOTHING
    return Effect.RECORD if RECORD in call.path else Effect.CHANGE


def rows(way: Way, calls: Sequence[Call], skip: Iterable[Row] = ()) -> list[Row]:
    """The activities of a recorded run, in their order; those that `skip` holds are rows already."""
    order = list(dict.fromkeys(call.activity for call in calls if call.namespace))
    skipped = {row.activity for row in skip}
    found = []
    for place, name in enumerate(order):
        own = [call for call in calls if call.activity == name]
        effects = {effect_of(call) for call in own}
        effect = next(kind for kind in Effect if kind in effects)
        first = next(call for call in own if effect_of(call) is effect)
        row = Row(
            way=way,
            activity=name,
            place=place,
            effect=effect,
            has_exec=any(call.is_exec for call in own),
            is_last=place == len(order) - 1,
            changes_by_exec=first.is_exec,
        )
        if name not in skipped:
            found.append(row)
    return found


def after(calls: Sequence[Call], activity: str) -> list[Call]:
    """The requests that came after the last one of an activity."""
    last = max(place for place, call in enumerate(calls) if call.activity == activity)
    return list(calls[last + 1 :])


def cells(found: Iterable[Row]) -> list[Cell]:
    """Every cell that there is: an exec is dropped only where there is one, and nothing comes after the last."""
    return [
        Cell(row, fault)
        for row in found
        for fault in Fault
        if (fault is not Fault.DROPPED or row.has_exec)
        and (fault is not Fault.TERMINATED_AFTER or not row.is_last)
    ]


def pack(wanted: Iterable[Cell], *, waiting: int = 3, quick: int = 6, anew: int = 2) -> list[Story]:
    """Put cells together that one replacement can go through: what may end it comes last."""
    left = sorted(wanted, key=lambda cell: (cell.row.way, cell.row.place))
    stories = []
    while left:
        story = _story(left, {"waiting": waiting, "quick": quick, "anew": anew, "end": 1})
        stories.append(story)
        left = [cell for cell in left if cell not in story.cells]
    return stories


def _story(left: Sequence[Cell], room: dict[str, int]) -> Story:
    """Begin with the last cell that may end a replacement, then take what fits before it."""
    ends = [cell for cell in left if cell.fault in MAY_END]
    first = ends[-1] if ends else left[-1]
    chosen = [first]
    room[_kind(first)] -= 1
    kinds = Counter(cell.fault for cell in left)
    # The most frequent fault first, so that the last stories are not all of one kind.
    for cell in sorted(left, key=lambda cell: -kinds[cell.fault]):
        fits = cell.row.way is first.row.way and room[_kind(cell)] > 0
        fits = fits and (cell.row.place < first.row.place or first.fault not in MAY_END)
        fits = fits and all(cell.row.place != other.row.place for other in chosen)
        if fits and (cell.fault is Fault.KILLED) == (first.fault is Fault.KILLED):
            chosen.append(cell)
            room[_kind(cell)] -= 1
    return Story(first.row.way, tuple(sorted(chosen, key=lambda cell: cell.row.place)))


def _kind(cell: Cell) -> str:
    if cell.fault in MAY_END:
        return "end"
    if cell.fault in ANEW or cell.fault is Fault.KILLED:
        return "anew"
    return "waiting" if cell.fault in WAITING else "quick"


def as_json(cell: Cell, verdict: str) -> str:
    """One line of a results file."""
    row = cell.row
    return json.dumps({"way": row.way, "activity": row.activity, "fault": cell.fault, "verdict": verdict})
