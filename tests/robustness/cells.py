"""The cells of the fault matrix: each activity, on the way that leads to it, times each fault.

Which activities there are, and what each one changes first, is taken from recorded runs: a new activity is covered
by itself. Many cells can share one replacement, as long as it goes on after each: stories are packed of them. A story
that fails is taken apart, and its cells are played alone, so that the one that is wrong has a name.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tests.robustness.proxy import Call, command_of

RECORD = "/configmaps"
READS = (("member", "list"), ("endpoint",), ("alarm", "list"), ("auth", "status"), ("user", "list"), ("get",))


class Way(StrEnum):
    """Where a replacement is led, so that it comes by an activity."""

    FORWARD = "forward"
    DEAD = "dead node"
    ALARMED = "alarmed"
    INTERRUPTED = "interrupted"
    BACK = "back"
    RESET = "reset"
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
    JANITOR = "terminated, janitor"
    RESET = "reset to before"
    HTTP_500 = "500"
    HTTP_409 = "409"
    HTTP_403 = "403"
    HTTP_429 = "429"
    CONNECTION_RESET = "connection reset"
    DROPPED = "exec dropped"


KINDS = {
    # What such a fault leaves unknown has to be waited out.
    "waiting": (Fault.LOST, Fault.TWIN, Fault.CONNECTION_RESET, Fault.DROPPED),
    # Something has to be started anew.
    "anew": (Fault.TERMINATED, Fault.TERMINATED_AFTER, Fault.JANITOR, Fault.RESET),
    "killed": (Fault.KILLED,),
    # Temporal takes a second one for the first.
    "cancel": (Fault.CANCELLED,),
}
ROOM = {"waiting": 8, "anew": 6, "killed": 8, "cancel": 1, "quick": 40, "end": 1}
TOGETHER = (
    {Way.FORWARD, Way.BACK, Way.RESET},
    {Way.FORWARD, Way.DEAD, Way.ALARMED},
    {Way.FORWARD, Way.ALARMED, Way.INTERRUPTED, Way.HELD},
)
"""What one replacement can be led through."""
POINT_OF_NO_RETURN = "remove_member"
TAKEN_FOR_ANOTHER = ("preflight", "claim_replacement_record")
"""Where a conflict that stays means that somebody else was first."""
ROADS = (Way.FORWARD, Way.DEAD)
"""Where a fault may end a replacement."""


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
    has_way_back: bool = False
    """Before the removal: a fault may end the replacement here."""
    is_last: bool = False
    changes_by_exec: bool = False
    begin: str = ""
    """The activity after which its way leaves the forward one; it comes by there too, and is not meant then."""
    turn: int = sys.maxsize
    """The place of that activity on the way forward."""

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


@dataclass(frozen=True)
class Cell:
    """One field of the table."""

    row: Row
    fault: Fault

    @property
    def may_end(self) -> bool:
        """Whether the replacement may be over with it."""
        refused = self.fault is Fault.HTTP_409 and self.row.activity in TAKEN_FOR_ANOTHER
        return self.row.has_way_back and (refused or self.fault in (Fault.CANCELLED, Fault.HTTP_403))

    @property
    def kind(self) -> str:
        """What there is room for in a story."""
        if self.may_end:
            return "end"
        return next((kind for kind, faults in KINDS.items() if self.fault in faults), "quick")

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
    def ways(self) -> frozenset[Way]:
        """Everything that is done to lead it by its cells."""
        return frozenset({self.way, *(cell.row.way for cell in self.cells)})

    @property
    def kills(self) -> bool:
        """Whether its worker is killed in it."""
        return any(cell.fault is Fault.KILLED for cell in self.cells)

    @property
    def name(self) -> str:
        """Every cell of it."""
        return "; ".join(cell.name for cell in self.cells)


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
    if "/events" in call.path:  # for people: nothing depends on them
        return Effect.NOTHING
    return Effect.RECORD if RECORD in call.path else Effect.CHANGE


def rows(way: Way, calls: Sequence[Call], begin: str = "", skip: Iterable[Row] = ()) -> list[Row]:
    """The activities of a recorded run in their order, after `begin`; those that `skip` holds are rows already."""
    turn = sys.maxsize
    if begin and calls:
        turn = list(dict.fromkeys(call.activity for call in calls)).index(begin)
        calls = calls[1 + max(place for place, call in enumerate(calls) if call.activity == begin) :]
    order = list(dict.fromkeys(call.activity for call in calls))
    skipped = {row.activity for row in skip}
    made = [_row(way, calls, order, name) for name in order if name not in skipped]
    return [replace(row, begin=begin, turn=turn) for row in made]


def _row(way: Way, calls: Sequence[Call], order: list[str], name: str) -> Row:
    own = [call for call in calls if call.activity == name]
    effects = {effect_of(call) for call in own}
    effect = next(kind for kind in Effect if kind in effects)
    return Row(
        way=way,
        activity=name,
        place=order.index(name),
        effect=effect,
        has_exec=any(call.is_exec for call in own),
        has_way_back=way in ROADS and POINT_OF_NO_RETURN in order[order.index(name) :],
        is_last=name == order[-1],
        changes_by_exec=next(call for call in own if effect_of(call) is effect).is_exec,
    )


def cells(found: Iterable[Row]) -> list[Cell]:
    """Every cell that there is: an exec is dropped only where there is one, and nothing comes after the last."""
    return [Cell(row, fault) for row in found for fault in Fault if _is_there(row, fault)]


def _is_there(row: Row, fault: Fault) -> bool:
    if fault is Fault.DROPPED:
        return row.has_exec
    if fault is Fault.TERMINATED_AFTER:
        return not row.is_last
    return (
        fault is not Fault.JANITOR or row.way is not Way.INTERRUPTED
    )  # there, the janitor is the one that ends


def pack(wanted: Iterable[Cell]) -> list[Story]:
    """Put cells together that one replacement can go through: what may end it comes last."""
    left = sorted(wanted, key=lambda cell: (cell.row.way, cell.row.place))
    stories = []
    while left:
        stories.append(_story(left))
        left = [cell for cell in left if cell not in stories[-1].cells]
    return stories


def _story(left: Sequence[Cell]) -> Story:
    """Begin with what is hardest to place, then add what fits."""
    first = max(left, key=_hard_to_place)
    chosen, frequent = [first], Counter((cell.fault, cell.row.way) for cell in left)
    # The most frequent fault first, so that the last stories are not all of one kind.
    for cell in sorted(left, key=lambda cell: (-_rank(cell), -frequent[cell.fault, cell.row.way])):
        if _fits(cell, chosen):
            chosen.append(cell)
    way = max((cell.row.way for cell in chosen), key=list(Way).index)
    return Story(way, tuple(sorted(chosen, key=lambda cell: (_rank(cell), cell.row.place))))


def _rank(cell: Cell) -> int:
    """The ways that lead off the forward one come after it."""
    return int(cell.row.begin != "")


def _hard_to_place(cell: Cell) -> tuple[bool, int, bool, int]:
    return (cell.may_end, _rank(cell), cell.kind == "cancel", cell.row.place)


def _fits(cell: Cell, chosen: Sequence[Cell]) -> bool:
    first = chosen[0]
    same_play = (cell.fault is Fault.KILLED) == (first.fault is Fault.KILLED)
    free = all(cell.row.activity != other.row.activity for other in chosen)
    room = sum(other.kind == cell.kind for other in chosen) < ROOM[cell.kind]
    return same_play and free and room and all(_on_one_way(cell.row, other) for other in chosen)


def _on_one_way(row: Row, other: Cell) -> bool:
    """Whether a replacement that is led by the one comes by the other."""
    ways = {row.way, other.row.way}
    if other.may_end:
        return ways <= set(ROADS) and row.place < other.row.place
    if not any(ways <= together for together in TOGETHER):
        return False
    return _before_turn(row, other.row)


def _before_turn(one: Row, other: Row) -> bool:
    return all(
        here.way is there.way or here.way is not Way.FORWARD or here.place < there.turn
        for here, there in ((one, other), (other, one))
    )


def as_json(cell: Cell, verdict: str) -> str:
    """One line of a results file."""
    row = cell.row
    return json.dumps({"way": row.way, "activity": row.activity, "fault": cell.fault, "verdict": verdict})
