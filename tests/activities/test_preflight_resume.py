"""Whose record stands when a run looks once more on its way."""

import pytest

from activities.preflight_checks import Findings, Looks
from activities.preflight_resume import look_at_record
from replace_etcd.cluster import CONFIG_MAP
from replace_etcd.models.phase import Phase
from replace_etcd.models.record import Record
from replace_etcd.models.request import ReplacementRequest
from tests.activities.conftest import SETTINGS, Bench


@pytest.mark.parametrize("was_reset", [False, True])
async def test_what_a_run_was_reset_from_has_begun_is_taken_over_like_anybody_elses(
    bench: Bench, was_reset: bool
) -> None:
    """What it has edited is not how it was before, even where the reset has written the record itself by then."""
    await bench.claim()
    config_map = await bench.cluster.get(CONFIG_MAP, SETTINGS.record, bench.pins.user_cluster)
    assert config_map is not None
    record = Record.from_data(config_map["data"])
    if was_reset:
        record = record.model_copy(update={"run_id": "the-reset", "furthest": Phase.DRAINING})
        await bench.cluster.replace(CONFIG_MAP, config_map | {"data": record.to_data()})
    looks = Looks(
        bench.tools,
        ReplacementRequest(user_cluster=bench.pins.user_cluster),
        Findings(),
        workflow_id=record.workflow_id,
        run_id=record.run_id,
    )
    await look_at_record(looks)
    assert (looks.record is not None) is was_reset
