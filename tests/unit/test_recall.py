"""A run that was reset, and whose record is gone, asks the survivors whether there is a way back."""

import pytest
from temporalio.testing import ActivityEnvironment

from activities import etcd_members
from activities.etcd_members import EtcdMemberActivities
from activities.fencing import new_record
from replace_etcd.cluster import Object
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
    monkeypatch.setattr(etcd_members, "ASKED_SECONDS", 1.0)
    scripted.objects[STATEFUL_SET] = stateful_set(FAILED.flag.existing, {"type": "OnDelete"})
    return scripted


def stateful_set(flag: str, strategy: dict[str, str], uid: str = FAILED.stateful_set_uid) -> Object:
    containers = [{"name": "kube-etcd", "args": ["etcd", "--name=x", "--data-dir=y", flag]}]
    spec = {"updateStrategy": strategy, "template": {"spec": {"containers": containers}}}
    return {"metadata": {"uid": uid}, "spec": spec}


FENCE = Fence(
    workflow_id="w", first_run_id="first", run_id="the-reset", generation=1, phase=Phase.ROLLING_BACK
)
ORDER = Order(pins=FAILED, fence=FENCE)


async def recall(etcd: ScriptedEtcd) -> Recalled:
    activity = EtcdMemberActivities(etcd.tools()).recall_what_was_begun
    done: Recalled = await ActivityEnvironment().run(activity, ORDER)
    return done


async def test_a_member_that_every_survivor_lists_is_not_removed(etcd: ScriptedEtcd) -> None:
    assert (await recall(etcd)).way_back


async def test_a_member_that_is_listed_no_more_is_removed(etcd: ScriptedEtcd) -> None:
    for member in etcd.members:
        member.listed = [10, 12]
    recalled = await recall(etcd)
    assert (recalled.way_back, recalled.is_removed, recalled.furthest) == (False, True, Phase.REMOVING)


@pytest.mark.parametrize("listed", [[10, 11, 12], [10, 12]])
async def test_a_record_that_was_written_anew_is_not_believed_against_the_survivors(
    etcd: ScriptedEtcd, listed: list[int]
) -> None:
    """Somebody deleted it past the removal, and the claim of the reset wrote one that has nothing behind it."""
    tools = etcd.tools()
    etcd.objects["configmaps", tools.settings.record] = new_record(tools, ORDER)
    for member in etcd.members:
        member.listed = listed
    recalled = await recall(etcd)
    assert (recalled.way_back, recalled.is_removed) == (11 in listed, 11 not in listed)


async def test_where_a_survivor_cannot_be_asked_nobody_can_tell(etcd: ScriptedEtcd) -> None:
    etcd.members[2].answers = False
    recalled = await recall(etcd)
    assert (recalled.way_back, recalled.is_removed) == (False, False)


async def test_a_survivor_that_is_silent_for_a_moment_is_asked_again(etcd: ScriptedEtcd) -> None:
    etcd.members[2].lost = 2
    assert (await recall(etcd)).way_back


@pytest.mark.parametrize(
    "left",
    [
        {},
        {STATEFUL_SET: stateful_set(FAILED.flag.existing, {"type": "OnDelete"}, uid="another")},
        {STATEFUL_SET: stateful_set(FAILED.flag.original, FAILED.update_strategy)},
    ],
)
async def test_where_nothing_of_the_edit_stands_there_is_nothing_to_ask(
    etcd: ScriptedEtcd, left: dict[tuple[str, str], Object]
) -> None:
    """It was never begun, all of it is back, or the user cluster is another one."""
    etcd.objects = left
    assert (await recall(etcd)).way_back
    assert etcd.asked == []
