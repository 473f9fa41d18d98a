"""What was missed, or was wrong, comes again, and everybody who waits for it hears when nothing is left."""

from __future__ import annotations

import asyncio

from tests.robustness.backlog import Backlog
from tests.robustness.cells import Cell, Effect, Fault, Row, Story, Way


def cell(place: int, fault: Fault = Fault.HTTP_500) -> Cell:
    return Cell(Row(Way.FORWARD, f"step_{place}", place, Effect.CHANGE, has_exec=False), fault)


CELLS = [cell(place) for place in range(4)]


async def begun(backlog: Backlog) -> Story:
    story = await backlog.next()
    assert story is not None
    return story


async def test_what_is_settled_does_not_come_again() -> None:
    backlog = Backlog(CELLS)
    assert list((await begun(backlog)).cells) == CELLS
    await backlog.done()
    assert await backlog.next() is None


async def test_what_was_missed_comes_once_more_together_and_then_alone() -> None:
    backlog = Backlog(CELLS)
    await begun(backlog)
    await backlog.done(missed=CELLS[1:3])
    again = await begun(backlog)
    assert list(again.cells) == CELLS[1:3]
    await backlog.done(missed=again.cells)
    for expected in CELLS[1:3]:
        assert list((await begun(backlog)).cells) == [expected]
        await backlog.done()
    assert await backlog.next() is None


async def test_what_was_wrong_comes_in_halves_before_anything_else() -> None:
    backlog = Backlog([*CELLS, *(cell(place, Fault.HTTP_409) for place in range(3))])
    wrong = await begun(backlog)
    assert list(wrong.cells) == CELLS
    await backlog.done(apart=wrong.cells)
    assert [list((await begun(backlog)).cells) for _ in range(2)] == [CELLS[:2], CELLS[2:]]


async def test_stories_in_which_a_worker_is_killed_come_first_and_then_the_longest() -> None:
    backlog = Backlog([*CELLS, cell(0, Fault.KILLED), cell(0, Fault.HTTP_409)])
    stories = [await begun(backlog) for _ in range(3)]
    assert [story.kills for story in stories] == [True, False, False]
    assert len(stories[1].cells) > len(stories[2].cells)


async def test_who_waits_is_given_what_another_missed_or_told_that_nothing_is_left() -> None:
    backlog = Backlog(CELLS)
    await begun(backlog)
    waiting = [asyncio.create_task(backlog.next()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    await backlog.done(missed=CELLS[:1])
    given, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in given] == [Story(Way.FORWARD, (CELLS[0],))]
    await backlog.done()
    assert await asyncio.gather(*pending) == [None]
