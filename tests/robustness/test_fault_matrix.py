"""How the cells of the fault matrix are packed into stories: every cell in one, each story playable."""

from __future__ import annotations

from tests.robustness.cells import TOGETHER, Cell, Effect, Fault, Row, Story, Way, cells, pack


def row(place: int, way: Way = Way.FORWARD) -> Row:
    """Ten activities, the first five of which come before the removal; the odd ones run commands."""
    return Row(
        way=way,
        activity=f"{way}_{place}",
        place=place,
        effect=Effect.CHANGE,
        has_exec=bool(place % 2),
        has_way_back=way is Way.FORWARD and place < 5,
        is_last=place == 9,
        begin=f"{Way.FORWARD}_{TURNS[way]}" if way in TURNS else "",
        turn=TURNS.get(way, 100),
    )


TURNS = {Way.BACK: 5, Way.RESET: 5, Way.HELD: 7}
ROWS = [row(place, way) for way in Way for place in range(10)]


def test_every_cell_is_in_one_story() -> None:
    wanted = cells(ROWS)
    packed = [cell for story in pack(wanted) for cell in story.cells]
    assert sorted(cell.name for cell in packed) == sorted(cell.name for cell in wanted)


def test_a_story_is_one_way_through_different_activities_in_their_order() -> None:
    for story in pack(cells(ROWS)):
        assert any(story.ways <= together for together in TOGETHER), story.name
        assert len({cell.row.activity for cell in story.cells}) == len(story.cells), story.name
        order = [(cell.row.begin != "", cell.row.place) for cell in story.cells]
        assert order == sorted(order), story.name


def test_a_story_that_turns_off_comes_by_what_is_before_its_turn() -> None:
    for story in pack(cells(ROWS)):
        turns = [TURNS[way] for way in story.ways if way in TURNS]
        forward = [cell.row.place for cell in story.cells if cell.row.way is Way.FORWARD]
        assert all(place < turn for place in forward for turn in turns), story.name


def test_what_may_end_a_replacement_comes_last_in_its_story() -> None:
    for story in pack(cells(ROWS)):
        *others, _ = story.cells
        assert not any(cell.may_end for cell in others), story.name


def test_a_worker_is_killed_in_stories_of_their_own() -> None:
    for story in pack(cells(ROWS)):
        assert len({cell.fault is Fault.KILLED for cell in story.cells}) == 1, story.name


def test_nothing_is_dropped_without_an_exec_and_nothing_comes_after_the_last() -> None:
    wanted = cells(ROWS)
    assert Cell(row(2), Fault.DROPPED) not in wanted
    assert Cell(row(3), Fault.DROPPED) in wanted
    assert Cell(row(9), Fault.TERMINATED_AFTER) not in wanted


def test_a_story_is_named_by_its_cells() -> None:
    story = Story(Way.BACK, (Cell(row(1, Way.BACK), Fault.TWIN),))
    assert story.name == "back/back_1 x twin"
