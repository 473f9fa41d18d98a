"""An alarm that a run has left behind: no cell of the table, since two ways meet in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.robustness.cells import Cell, Fault, Story, Way
from tests.robustness.matrix import a_matrix
from tests.robustness.nodes import Cluster, Disks, ModelCluster
from tests.robustness.real_etcd import RealCluster


@pytest.mark.parametrize(("etcd", "fault"), [(ModelCluster, Fault.TERMINATED), (RealCluster, Fault.JANITOR)])
async def test_a_run_that_ends_with_the_removal_leaves_the_alarm_to_the_next_one(
    tmp_path: Path, etcd: Callable[[str, Disks], Cluster], fault: Fault
) -> None:
    """Writes are refused until it is disarmed, and what is done after the removal is not done again."""
    async with a_matrix(tmp_path, etcd, 2, hurry=True) as matrix:
        rows = await matrix.rows((Way.FORWARD, Way.ALARMED))
        removal = next(row for row in rows if row.activity == "remove_member")
        verdict = await matrix.play_story(Story(Way.ALARMED, (Cell(removal, fault),)))
    assert (verdict.outcome, verdict.wrong) == ("replaced", [])
    assert verdict.reached
    assert "disarm_alarm_of_removed_member" in {call.activity for call in verdict.calls}
