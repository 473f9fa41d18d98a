"""The main job, on real etcd: every fault, replica and policy, both ways with the budget, both control planes.

Some in every run, pairwise in CI, and whole in `make test-full` (cells.py). One by hand: `replace-etcd demo` with
`--kubernetes` and the like.
"""

from pathlib import Path

import pytest

from lab.binaries import etcd_assets
from lab.options import LabOptions
from tests.e2e.cells import Cell, parameters
from tests.e2e.conftest import replaced, scene_of


@pytest.mark.parametrize("cell", parameters())
async def test_a_failed_replica_is_replaced(tmp_path: Path, cell: Cell) -> None:
    async with scene_of(cell.lab, tmp_path) as scene:
        failed = await scene.destroy(cell.replica, cell.fault)
        result = await scene.result(await scene.start(failed_replica=failed, **cell.request))
        report = await scene.judgement()
    replaced(result, report)
    assert result.replica == failed
    if cell.budget == "keep":
        assert report.judgement.seconds_without_pdb == 0


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.needs(f"etcd-{line}")) for line in ("3.4", "3.5", "3.6")]
)
async def test_every_line_of_etcd_is_replaced_alike(tmp_path: Path, line: str) -> None:
    """As a learner, and with a snapshot: its tools differ. (3.5.1, which joins as a voter, is all other tests'.)"""
    etcd = next(folder for folder in etcd_assets() if folder.name.startswith(f"{line}."))
    kept = tmp_path / "snapshots"
    kept.mkdir()
    lab = LabOptions.model_validate({"etcd": etcd})
    async with scene_of(lab, tmp_path, REPLACE_ETCD_SNAPSHOT_DIR=str(kept)) as scene:
        await scene.destroy()
        result = await scene.result(await scene.start(require_snapshot=True))
        report = await scene.judgement()
    replaced(result, report)
    assert report.etcd == etcd.name
    assert result.snapshot is not None
    assert result.snapshot.total_keys > 0
    promoted = next(step for step in result.steps if step.name == "promote_member")
    assert promoted.note.endswith("is a voter")
