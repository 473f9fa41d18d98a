"""Kills a worker in the middle of the activities of several replacements at once, and starts it again.

A kill costs every replacement of the worker a lease, so one kill serves all that wait for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lab.processes import Component

if TYPE_CHECKING:
    from tests.robustness.cells import Cell
    from tests.robustness.director import Play

PATIENCE = 12.0
"""So long the first to come waits for the others."""
POLL = 0.2


class Killer:
    """One worker, and the plays that want it killed."""

    def __init__(self, worker: Component) -> None:
        self.worker = worker
        self.kills = 0
        self._playing: set[Play] = set()
        self._waiting: dict[Play, asyncio.Event] = {}

    def join(self, play: Play) -> None:
        """A play is on this worker."""
        self._playing.add(play)

    def leave(self, play: Play) -> None:
        """It has ended."""
        self._playing.discard(play)
        self._waiting.pop(play, None)

    async def kill(self, play: Play, cell: Cell) -> None:
        """Return once the worker was killed; at once for a play that is over, whose requests still come."""
        if play not in self._playing:
            return
        killed = self._waiting.setdefault(play, asyncio.Event())
        await killed.wait()

    async def run(self) -> None:
        """Kill it whenever all who play wait for it, or the first has waited for long."""
        clock = asyncio.get_running_loop().time
        while True:
            first = clock()
            while not self._waiting or (
                len(self._waiting) < len(self._playing) and clock() - first < PATIENCE
            ):
                if not self._waiting:
                    first = clock()
                await asyncio.sleep(POLL)
            await self.worker.kill()
            self.kills += 1
            waiting, self._waiting = self._waiting, {}
            await self.worker.start()
            for killed in waiting.values():
                killed.set()
