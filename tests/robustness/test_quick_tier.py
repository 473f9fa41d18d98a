"""The quick tier of the fault matrix: every cell, against the model of etcd; one test for each activity.

All cells are played at once, many to a replacement (tests/robustness/matrix.py); each test reads its own off the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.robustness import quick
from tests.robustness.cells import Cell
from tests.robustness.matrix import CLEAN

Played = tuple[list[Cell], dict[Cell, str]]
pytestmark = pytest.mark.timeout(1500)  # the first of them plays all cells


@pytest.fixture(scope="module")
def played(tell: Callable[[str], None]) -> Played:
    """Every cell, and what it came to."""
    _, wanted, result = asyncio.run(quick.play(""))
    assert not result.apart, "wrong as a whole, clean in parts: " + "\n".join(result.apart)
    clean = sum(said == CLEAN for said in result.verdicts.values())
    tell(f"Fault matrix: {clean} of {len(wanted)} cells clean, in {result.stories} replacements.")
    return wanted, result.verdicts


@pytest.mark.parametrize("activity", sorted(quick.activities() - set(quick.ELSEWHERE)))
def test_every_fault_of_an_activity_leaves_the_user_cluster_as_good_as_before(
    activity: str, played: Played
) -> None:
    wanted, verdicts = played
    own = [cell for cell in wanted if cell.row.activity == activity]
    wrong = [f"{cell.name}: {verdicts.get(cell)}" for cell in own if verdicts.get(cell) != CLEAN]
    assert own
    assert not wrong, "\n".join(wrong)
