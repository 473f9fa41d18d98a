"""The stories that are left to play, and what those that were played did not come by.

Many hands take from it. Nobody waits for the longest story of a round: what was missed is packed anew as soon as
nothing else is left to begin.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.robustness.cells import Cell, Story, pack

PACKED = 2
"""So often a cell shares a replacement with others; then it has one to itself."""


class Backlog:
    """Every cell leaves it in a story, and comes back where that story was wrong or missed it."""

    def __init__(self, wanted: Iterable[Cell]) -> None:
        self._stories = _in_order(pack(wanted))
        self._missed: list[Cell] = []
        self._tries: Counter[Cell] = Counter()
        self._played = 0
        self._changed = asyncio.Condition()

    async def next(self) -> Story | None:
        """The story to begin with; waits while what is played may come back, None once everything is settled."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._stories or self._missed or not self._played)
            if not self._stories:
                self._stories, self._missed = self._repacked(), []
            if not self._stories:
                return None
            self._played += 1
            return self._stories.pop(0)

    async def done(self, *, missed: Sequence[Cell] = (), apart: Sequence[Cell] = ()) -> None:
        """A story was played: what it did not come by, or every cell of one that was wrong, which goes on in halves."""
        middle = len(apart) // 2
        halves = [story for half in (apart[:middle], apart[middle:]) for story in pack(half)]
        async with self._changed:
            self._played -= 1
            self._stories[:0] = halves
            self._missed += missed
            self._tries.update(missed)
            self._changed.notify_all()

    def _repacked(self) -> list[Story]:
        alone = [cell for cell in self._missed if self._tries[cell] >= PACKED]
        together = [cell for cell in self._missed if self._tries[cell] < PACKED]
        return _in_order([*pack(together), *(story for cell in alone for story in pack([cell]))])


def _in_order(stories: Iterable[Story]) -> list[Story]:
    """Those in which a worker is killed together, then the longest first."""
    return sorted(stories, key=lambda story: (not story.kills, -len(story.cells)))
