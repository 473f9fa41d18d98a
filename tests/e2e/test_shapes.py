"""Shapes of admin clusters met in the wild: each is carried out, judged like any other, or refused with a way out.

Shapes that do not edit the same place are put into one user cluster, since each replacement takes half a minute; in
`make test-full` each stands alone, too.
"""

from pathlib import Path

import pytest

from lab.fixture.shapes import SHAPES
from lab.options import LabOptions
from tests.e2e.conftest import REAL, nothing_lost, replaced, scene_of

TOGETHER = (
    (
        *("container-named-otherwise", "sidecars", "flag-in-shell-string", "data-elsewhere", "hostnames"),
        *("members-named-otherwise", "peer-urls-with-domain", "several-secrets", "soft-anti-affinity"),
        *("on-delete", "budget-by-max-unavailable"),
    ),
    ("sidecars", "flag-as-two-tokens", "flag-in-command", "no-budget"),
    ("flag-by-variable",),
    ("flag-in-environment",),
)


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
@pytest.mark.parametrize("shapes", [*TOGETHER, *((name,) for name in SHAPES)], ids="+".join)
async def test_a_shape_is_carried_out(tmp_path: Path, kubernetes: str, shapes: tuple[str, ...]) -> None:
    lab = LabOptions.model_validate({"kubernetes": kubernetes, "shapes": shapes})
    async with scene_of(lab, tmp_path) as scene:
        await scene.destroy()
        result = await scene.result(await scene.start())
        report = await scene.judgement()
    if "no-budget" in shapes:
        (left,) = result.left
        assert "there is no PodDisruptionBudget" in left
        assert report.before.pdb_spec is None
        result.left.clear()
    nothing_lost(report)
    replaced(result, report)
