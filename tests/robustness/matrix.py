"""The whole table: record the ways, play the cells side by side in stories, and say which is wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.temporal_server import TemporalServer
from tests.robustness.backlog import Backlog
from tests.robustness.cells import POINT_OF_NO_RETURN, Cell, Row, Story, Way, rows
from tests.robustness.director import Play, Verdict
from tests.robustness.killer import Killer
from tests.robustness.nodes import Cluster, Disks
from tests.robustness.proxy import Call, Proxy
from tests.robustness.room import Ward, a_room, worker
from tests.robustness.stage import Stage

STEADY, KILLED = "steady", "killed"
POLICIES = ("OrderedReady", "Parallel")
Report = Callable[[Cell, str], None]
CLEAN = "clean"
ENDS = {
    Way.FORWARD: "replaced",
    Way.DEAD: "replaced",
    Way.ALARMED: "replaced",
    Way.INTERRUPTED: "replaced",
    Way.BACK: "rolled_back",
    Way.RESET: "rolled_back",
    Way.HELD: "left_incomplete",
}


@dataclass
class Result:
    """What every cell came to: `clean`, or what is wrong."""

    verdicts: dict[Cell, str] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    """Stories that were wrong as a whole, and were taken apart."""
    stories: int = 0
    kills: int = 0

    @property
    def wrong(self) -> list[str]:
        """The cells that are not clean."""
        return [f"{cell.name}: {said}" for cell, said in self.verdicts.items() if said != CLEAN]


class Matrix:
    """A stage with two workers: one that lives, one that is killed."""

    def __init__(self, stage: Stage, killer: Killer, at_once: int = 1) -> None:
        self.result = Result()
        self._stage = stage
        self._killer = killer
        self._hands = at_once
        self._numbers = itertools.count()

    async def rows(self, ways: Sequence[Way] = tuple(Way)) -> list[Row]:
        """The activities of each way, from a run of each without any fault."""
        runs = await asyncio.gather(*(self.play_story(Story(way, ()), POLICIES[0]) for way in ways))
        for run in runs:
            if run.wrong or run.outcome != ENDS[run.story.way]:
                raise AssertionError(
                    f"{run.story.way} without any fault: {run.outcome}: {run.reason} {run.wrong}"
                )
        calls: dict[Way, list[Call]] = {way: [] for way in Way} | {run.story.way: run.calls for run in runs}
        forward = rows(Way.FORWARD, calls[Way.FORWARD])
        back = rows(Way.BACK, calls[Way.BACK], POINT_OF_NO_RETURN)
        held = rows(Way.HELD, calls[Way.HELD], "promote_member")
        return [
            *forward,
            *rows(Way.DEAD, calls[Way.DEAD], skip=[*forward, *held]),
            *rows(Way.ALARMED, calls[Way.ALARMED], skip=forward),
            *rows(Way.INTERRUPTED, calls[Way.INTERRUPTED], skip=[*forward, *back]),
            *back,
            *rows(Way.RESET, calls[Way.RESET], POINT_OF_NO_RETURN, skip=[*forward, *back]),
            *held,
        ]

    async def play(self, wanted: Sequence[Cell], report: Report = lambda *_: None) -> Result:
        """Play every cell, as many stories side by side as there are hands."""
        backlog = Backlog(wanted)
        await asyncio.gather(*(self._play_from(backlog, report) for _ in range(self._hands)))
        self.result.kills = self._killer.kills
        return self.result

    async def _play_from(self, backlog: Backlog, report: Report) -> None:
        while (story := await backlog.next()) is not None:
            verdict = await self.play_story(story)
            if len(story.cells) == 1 and not verdict.wrong and not verdict.reached:
                # Under `Parallel` the controller itself does some of what a step does under `OrderedReady`.
                verdict = await self.play_story(story, POLICIES[0])
            left = self._take(verdict, report)
            await (backlog.done(apart=left) if verdict.wrong else backlog.done(missed=left))

    def _take(self, verdict: Verdict, report: Report) -> list[Cell]:
        """Note what is settled; returns the cells that are to be played (again)."""
        story = verdict.story
        if len(story.cells) == 1:
            (cell,) = story.cells
            said = "; ".join(verdict.wrong)
            if not said and cell not in verdict.reached:
                said = "the replacement never came by"
            self._settle(cell, f"{verdict.outcome} ({verdict.reason}): {said}" if said else CLEAN, report)
            return []
        if verdict.wrong:
            said = f"{verdict.outcome} ({verdict.reason}): {'; '.join(verdict.wrong)}"
            self.result.apart.append(f"{story.name}: {said}")
            return list(story.cells)
        for cell in story.cells:
            if cell in verdict.reached:
                self._settle(cell, CLEAN, report)
        return [cell for cell in story.cells if cell not in verdict.reached]

    def _settle(self, cell: Cell, said: str, report: Report) -> None:
        self.result.verdicts[cell] = said
        report(cell, said)

    async def play_story(self, story: Story, policy: str | None = None) -> Verdict:
        """Play one story to its verdict, under the one pod management policy or the other in turn."""
        number = next(self._numbers)
        self.result.stories += 1
        killer = self._killer if story.kills else None
        queue = KILLED if story.kills else STEADY
        play = Play(self._stage, story, queue, killer)
        try:
            return await play.run(policy or POLICIES[number % len(POLICIES)])
        except Exception as error:  # one that broke must not end the others; it is told with the wrong ones
            play.verdict.wrong = [repr(error)]
            return play.verdict


@asynccontextmanager
async def a_matrix(
    directory: Path, cluster: Callable[[str, Disks], Cluster], at_once: int, *, hurry: bool
) -> AsyncIterator[Matrix]:
    """A ward with this sort of etcd, its workers, and the killer at work."""
    async with (
        a_room(directory, Ward[Cluster], cluster) as (room, temporal),
        two_workers(directory, room.proxy, temporal, hurry=hurry) as killer,
    ):
        yield Matrix(room, killer, at_once)
        if room.nodes.unknown:
            raise AssertionError(f"the model has no answer to: {set(room.nodes.unknown)}")


@asynccontextmanager
async def two_workers(
    directory: Path, proxy: Proxy, temporal: TemporalServer, *, hurry: bool
) -> AsyncIterator[Killer]:
    """One that lives, and one that is killed whenever stories ask for it."""
    steady, killed = (worker(directory, queue, proxy, temporal, hurry=hurry) for queue in (STEADY, KILLED))
    await asyncio.gather(steady.start(), killed.start())
    killer = Killer(killed)
    killing = asyncio.create_task(killer.run())
    try:
        yield killer
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        await asyncio.gather(steady.kill(), killed.kill())
