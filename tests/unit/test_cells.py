"""The table of the end-to-end replacements: what CI has is a part of the whole, and pairwise."""

import itertools

from lab.fixture.shapes import SHAPES
from tests.e2e.cells import ALL, PAIRWISE


def pairs(rows: list[tuple[str, ...]]) -> set[tuple[object, ...]]:
    """Every two values that meet in a row, each with its column."""
    return {pair for row in rows for pair in itertools.combinations(enumerate(row), 2)}


def test_every_pair_of_values_is_in_ci() -> None:
    assert pairs([cell.key for cell in PAIRWISE]) == pairs([cell.key for cell in ALL])
    assert {cell.key for cell in PAIRWISE} <= {cell.key for cell in ALL}
    assert len({cell.key for cell in ALL}) == len(ALL) == 96


def test_the_shapes_that_are_carried_out_are_in_ci() -> None:
    """But one: it is refused unless the other nodes are cordoned."""
    assert {shape for cell in PAIRWISE for shape in cell.shapes} == set(SHAPES) - {"network-disks"}
