"""`kubectl describe statefulset` tells the story: an Event for each phase, and none is ever in the way."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from activities import announcing
from activities.replacement_record import RecordActivities
from activities.standing_edit import GuardActivities
from activities.step import Toolbox
from replace_etcd.cluster import EVENT, AdminCluster, Kind, Object
from replace_etcd.errors import Forbidden
from replace_etcd.models.orders import ClosingOrder, HoldOrder, Order
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome
from tests.activities.conftest import IDENTITY, SETTINGS, Bench


async def told(bench: Bench, number: int) -> list[Object]:
    """So many Events, in the order in which they were written."""
    await asyncio.gather(*announcing._under_way)
    found = await bench.cluster.find(EVENT, bench.pins.user_cluster)
    ours = [event for event in found if event["source"].get("component") == announcing.COMPONENT]
    assert len(ours) == number, [event["message"] for event in ours]
    return sorted(ours, key=lambda event: int(event["metadata"]["resourceVersion"]))


async def test_each_phase_leaves_one_event_on_the_stateful_set(bench: Bench) -> None:
    await bench.claim()
    record = RecordActivities(bench.tools)
    guard = GuardActivities(bench.tools)
    for why in ("no quorum", "no quorum"):  # a second attempt tells nothing new
        await bench.run(guard.note_hold, bench.order(HoldOrder, Phase.HELD, reason=why))
    closing = bench.order(
        ClosingOrder, Phase.HELD, outcome=Outcome.LEFT_INCOMPLETE, reason="abandoned by ann"
    )
    await bench.run(record.close_replacement_record, closing)
    events = await told(bench, 3)
    assert [(event["type"], event["reason"]) for event in events] == [
        ("Normal", "ReplacementProtecting"),
        ("Warning", "ReplacementHeld"),
        ("Warning", "ReplacementLeftIncomplete"),
    ]
    assert "no quorum" in events[1]["message"]
    assert "abandoned by ann" in events[2]["message"]
    uid = (await bench.stateful_set())["metadata"]["uid"]
    assert all(event["involvedObject"]["uid"] == bench.pins.stateful_set_uid == uid for event in events)


async def test_the_end_is_told_when_the_record_goes(bench: Bench) -> None:
    await bench.claim()
    await bench.run(
        RecordActivities(bench.tools).delete_replacement_record, bench.order(Order, Phase.ROLLING_BACK)
    )
    assert {event["reason"] for event in await told(bench, 3)} >= {"ReplacementRolledBack"}


class WithoutEvents:
    """A cluster that grants no Events."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._cluster, name)  # type: ignore[no-any-return]

    async def create(self, kind: Kind, manifest: Object, namespace: str | None = None) -> Object:
        if kind is EVENT:
            raise Forbidden(403, "Forbidden", "events is forbidden")
        created: Object = await self._cluster.create(kind, manifest, namespace)
        return created


async def test_without_the_right_to_it_nothing_else_changes(bench: Bench) -> None:
    cluster = cast(AdminCluster, WithoutEvents(bench.cluster))
    tools = Toolbox(cluster, SETTINGS, IDENTITY, bench.runs)
    done = await bench.run(RecordActivities(tools).claim_replacement_record, bench.order(Order))
    assert done.note.endswith("created")
    assert await told(bench, 0) == []
