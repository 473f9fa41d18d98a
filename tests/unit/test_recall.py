"""A run that was reset, and whose record is gone, asks the survivors whether the member is removed."""

import pytest
from temporalio.testing import ActivityEnvironment

from activities.replacement_record import RecordActivities
from replace_etcd.errors import RemovalForgotten
from replace_etcd.models.orders import Fence, Order, Recalled
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Survivor
from tests.unit.scripted_etcd import ScriptedEtcd
from tests.workflows.script import PINS

SURVIVORS = [Survivor(pod=f"kube-etcd-{n}", pod_uid="u", member_id=f"{10 + n:x}") for n in (0, 2)]
FAILED = PINS.model_copy(update={"member_id": "b", "survivors": SURVIVORS})


async def recall(etcd: ScriptedEtcd) -> Recalled:
    fence = Fence(
        workflow_id="w", first_run_id="first", run_id="the-reset", generation=1, phase=Phase.ROLLING_BACK
    )
    activity = RecordActivities(etcd.tools()).recall_what_was_begun
    done: Recalled = await ActivityEnvironment().run(activity, Order(pins=FAILED, fence=fence))
    return done


async def test_a_member_that_is_listed_still_is_not_removed() -> None:
    assert (await recall(ScriptedEtcd())).pins == FAILED


async def test_nothing_goes_back_where_the_member_is_listed_no_more() -> None:
    etcd = ScriptedEtcd()
    for member in etcd.members:
        member.listed = [10, 12]
    with pytest.raises(RemovalForgotten, match="is gone, and member b is listed no more"):
        await recall(etcd)
