"""A run that was reset, and whose record is gone, asks the survivors whether there is a way back."""

import pytest
from temporalio.testing import ActivityEnvironment

from activities import etcd_members
from activities.etcd_members import EtcdMemberActivities
from replace_etcd.models.orders import Fence, Order, Recalled
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Survivor
from tests.unit.scripted_etcd import ScriptedEtcd
from tests.workflows.script import PINS

SURVIVORS = [Survivor(pod=f"kube-etcd-{n}", pod_uid="u", member_id=f"{10 + n:x}") for n in (0, 2)]
FAILED = PINS.model_copy(update={"member_id": "b", "survivors": SURVIVORS})
STATEFUL_SET = ("statefulsets", "kube-etcd")


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> ScriptedEtcd:
    monkeypatch.setattr(etcd_members, "LOST_SECONDS", 0.3)
    scripted = ScriptedEtcd()
    scripted.objects[STATEFUL_SET] = {"metadata": {"uid": FAILED.stateful_set_uid}}
    return scripted


async def recall(etcd: ScriptedEtcd) -> Recalled:
    fence = Fence(
        workflow_id="w", first_run_id="first", run_id="the-reset", generation=1, phase=Phase.ROLLING_BACK
    )
    activity = EtcdMemberActivities(etcd.tools()).recall_what_was_begun
    done: Recalled = await ActivityEnvironment().run(activity, Order(pins=FAILED, fence=fence))
    return done


async def test_a_member_that_every_survivor_lists_is_not_removed(etcd: ScriptedEtcd) -> None:
    assert (await recall(etcd)).way_back


async def test_a_member_that_is_listed_no_more_is_removed(etcd: ScriptedEtcd) -> None:
    for member in etcd.members:
        member.listed = [10, 12]
    recalled = await recall(etcd)
    assert (recalled.way_back, recalled.is_removed, recalled.furthest) == (False, True, Phase.REMOVING)


async def test_where_a_survivor_cannot_be_asked_nobody_can_tell(etcd: ScriptedEtcd) -> None:
    etcd.members[2].answers = False
    recalled = await recall(etcd)
    assert (recalled.way_back, recalled.is_removed) == (False, False)


@pytest.mark.parametrize("left", [{}, {STATEFUL_SET: {"metadata": {"uid": "another"}}}])
async def test_where_the_stateful_set_is_gone_everything_is_moot(etcd: ScriptedEtcd, left: dict) -> None:  # type: ignore[type-arg]
    etcd.members[2].answers = False
    etcd.objects = left
    assert (await recall(etcd)).way_back
