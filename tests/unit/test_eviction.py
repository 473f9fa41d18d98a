"""The failed pod is evicted only while its member fails: one probe where it was just watched, else the whole time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities import node, survivors
from activities.node import NodeActivities, seen_just_now
from activities.survivors import pause_before_next_probe
from replace_etcd.cluster import POD, Eviction
from replace_etcd.errors import Moved, Recovered
from replace_etcd.models.orders import EvictionOrder, Fence
from replace_etcd.models.phase import Phase
from tests.unit.test_recheck import PINS, still

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FENCE = Fence(workflow_id="w", first_run_id="r", run_id="r", generation=1, phase=Phase.DRAINING)


class World:
    """The world of the pins, and who was evicted from it."""

    def __init__(self) -> None:
        self.etcd = still()
        self.evicted: list[str] = []

    @property
    def probes(self) -> int:
        """How often the first survivor asked the failed member."""
        return self.etcd.asked.count("kube-etcd-0 endpoint status")

    async def evict(self, *, seen: datetime | None = None, attempt: int = 1) -> None:
        async def evicts(namespace: str, pod: str, **_: object) -> Eviction:
            self.evicted.append(pod)
            return Eviction(admitted=True)

        self.etcd.evict = evicts  # type: ignore[attr-defined]
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, attempt=attempt)
        steps = NodeActivities(self.etcd.tools(failure_probe_seconds=0.1))
        order = EvictionOrder(pins=PINS, fence=FENCE, seen_to_fail_at=seen)
        await environment.run(steps.evict_failed_pod, order)


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is this attempt's, and the pauses between probes are short."""

    class Held:
        async def hold(self) -> None:
            return None

    @asynccontextmanager
    async def fenced(*_: object) -> AsyncIterator[Held]:
        yield Held()

    monkeypatch.setattr(node, "fenced", fenced)
    monkeypatch.setattr(survivors, "PROBE_PAUSE_SECONDS", 0.02)


async def probed(**how: object) -> int:
    world = World()
    await world.evict(**how)  # type: ignore[arg-type]
    assert world.evicted == ["kube-etcd-1"]
    return world.probes


async def test_one_more_probe_is_enough_only_right_after_the_member_was_watched() -> None:
    just_now = datetime.now(UTC)
    shortly = await probed(seen=just_now)
    assert await probed() > shortly, "it was not watched"
    assert await probed(seen=just_now, attempt=2) > shortly, "a retry"
    assert await probed(seen=just_now - timedelta(minutes=1)) > shortly, "a pause"


@pytest.mark.parametrize("seen", [timedelta(0), None])
async def test_a_member_that_answers_again_is_not_evicted(seen: timedelta | None) -> None:
    world = World()
    world.etcd.members[1].answers = True
    with pytest.raises(Recovered):
        await world.evict(seen=None if seen is None else datetime.now(UTC))
    assert world.evicted == []


async def test_a_survivor_that_moved_stops_the_eviction_right_after_the_watch_too() -> None:
    world = World()
    del world.etcd.objects[POD.plural, "kube-etcd-0"]
    with pytest.raises(Moved):
        await world.evict(seen=datetime.now(UTC))
    assert world.evicted == []


def test_what_counts_as_just_now() -> None:
    assert seen_just_now(NOW, NOW + timedelta(seconds=2), attempt=1)
    assert not seen_just_now(NOW, NOW + timedelta(seconds=11), attempt=1)
    assert not seen_just_now(NOW + timedelta(hours=1), NOW, attempt=1), "another worker's clock is wrong"
    assert not seen_just_now(NOW, NOW, attempt=2)
    assert not seen_just_now(None, NOW, attempt=1)


@pytest.mark.parametrize("took", [0.05, 1.0, 2.0, 2.1, 2.25, 2.4, 3.0, 3.2, 4.0])
def test_probes_are_spread_over_the_time_and_the_last_one_ends_with_it(took: float) -> None:
    seconds, now, probes, longest = 10.0, 0.0, 0, 0.0
    while True:
        now, probes = now + took, probes + 1
        if now >= seconds:
            break
        pause = pause_before_next_probe(probes, took, seconds - now)
        now, longest = now + pause, max(longest, pause)
    assert now <= seconds + max(took / 5, 3 * took - seconds), "the budget waits no longer than asked"
    assert probes >= 3
    assert longest <= 1.2, "one that comes and goes must not fit in between"
