"""Whose record stands when a run looks once more on its way."""

import pytest

from activities.preflight_checks import Findings, Looks
from activities.preflight_resume import look_at_record
from replace_etcd.cluster import CONFIG_MAP
from replace_etcd.models.phase import Phase
from replace_etcd.models.record import Record
from replace_etcd.models.request import ReplacementRequest
from tests.activities.conftest import SETTINGS, Bench


@pytest.mark.parametrize(
    "changes", [{}, {"run_id": "the-reset", "furthest": Phase.DRAINING}, {"heir_of": ["the-one-before"]}]
)
async def test_what_another_run_has_begun_is_taken_over_also_by_one_that_looks_once_more(
    bench: Bench, changes: dict[str, object]
) -> None:
    """What it has edited is not how it was before, even where the heir, or the reset, has written the record since."""
    await bench.claim()
    config_map = await bench.cluster.get(CONFIG_MAP, SETTINGS.record, bench.pins.user_cluster)
    assert config_map is not None
    record = Record.from_data(config_map["data"]).model_copy(update=changes)
    await bench.cluster.replace(CONFIG_MAP, config_map | {"data": record.to_data()})
    looks = Looks(
        bench.tools,
        ReplacementRequest(user_cluster=bench.pins.user_cluster),
        Findings(),
        workflow_id=record.workflow_id,
        run_id=record.run_id,
    )
    await look_at_record(looks)
    assert (looks.record is not None) is bool(changes)
