"""The main job, on real etcd: every fault, every replica, both pod management policies, both control planes.

Pairwise, since all of it takes an hour; the whole table is one `--kubernetes`, `--replica` and `--fault` away
(`replace-etcd demo`).
"""

from pathlib import Path

import pytest

from lab.binaries import etcd_assets
from lab.models import Fault
from lab.options import LabOptions
from tests.e2e.conftest import REAL, replaced, scene_of

CELLS = [
    ("simulated", "kube-etcd-1", "corrupt-wal", "OrderedReady", {}),
    ("simulated", "leader", "corrupt-db", "Parallel", {}),
    (
        "simulated",
        "kube-etcd-2",
        "wipe",
        "OrderedReady",
        {"pod_disruption_budget": "keep", "drain": "replica"},
    ),
    ("simulated", "kube-etcd-0", "hang", "Parallel", {"join_as": "learner"}),
]
REAL_CELLS = [
    pytest.param(*REAL.values, replica, fault, policy, options, marks=REAL.marks)
    for replica, fault, policy, options in (
        ("kube-etcd-0", "corrupt-wal", "OrderedReady", {}),
        ("kube-etcd-1", "hang", "OrderedReady", {"pod_disruption_budget": "keep"}),
        ("kube-etcd-2", "corrupt-db", "Parallel", {"drain": "replica"}),
        ("leader", "wipe", "Parallel", {}),
    )
]


@pytest.mark.parametrize(("kubernetes", "replica", "fault", "policy", "options"), [*CELLS, *REAL_CELLS])
async def test_a_failed_replica_is_replaced(
    tmp_path: Path, kubernetes: str, replica: str, fault: Fault, policy: str, options: dict[str, str]
) -> None:
    lab = LabOptions.model_validate({"kubernetes": kubernetes, "pod_management": policy})
    async with scene_of(lab, tmp_path) as scene:
        failed = await scene.destroy(replica, fault)
        result = await scene.result(await scene.start(failed_replica=failed, **options))
        report = await scene.judgement()
    replaced(result, report)
    assert result.replica == failed
    if options.get("pod_disruption_budget") == "keep":
        assert report.judgement.seconds_without_pdb == 0


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.needs(f"etcd-{line}")) for line in ("3.5", "3.6")]
)
async def test_newer_lines_of_etcd_are_replaced_alike(tmp_path: Path, line: str) -> None:
    etcd = next(folder for folder in etcd_assets() if folder.name.startswith(f"{line}."))
    async with scene_of(LabOptions.model_validate({"etcd": etcd}), tmp_path) as scene:
        await scene.destroy()
        result = await scene.result(await scene.start())
        report = await scene.judgement()
    replaced(result, report)
    promoted = next(step for step in result.steps if step.name == "promote_member")
    assert promoted.note.endswith("is a voter")
