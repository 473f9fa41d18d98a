"""What counts as progress while a new member is waited for."""

import itertools

import pytest

from activities.etcd_members import EtcdMemberActivities
from replace_etcd.errors import NoProgress
from replace_etcd.etcd import MemberStatus
from replace_etcd.models.orders import NewMemberOrder
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Member
from tests.activities.conftest import Bench
from tests.unit.scripted_etcd import status_of


async def test_the_writes_that_a_voter_serves_are_no_progress_of_a_pod_that_is_never_ready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.claim()
    activities, indexes = EtcdMemberActivities(bench.tools), itertools.count()

    async def members(*_: object) -> list[Member]:
        return [Member(id="b2", name="kube-etcd-1", peer_urls=[])]

    async def status(*_: object) -> MemberStatus:
        index = next(indexes)
        return status_of("b2", index, index)

    monkeypatch.setattr(activities._survivors, "members", members)
    monkeypatch.setattr(activities._survivors, "status", status)
    order = bench.order(NewMemberOrder, Phase.REJOINING, new_member_id="b2", patience_seconds=0.5)
    with pytest.raises(NoProgress):
        await bench.run(activities.wait_for_voter, order)
    assert next(indexes) > 1
