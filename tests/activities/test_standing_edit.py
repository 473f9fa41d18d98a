"""While a member is missing nobody may let the StatefulSet controller restart a survivor."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.fencing import fenced
from activities.standing_edit import GuardActivities, edit_stands
from activities.stateful_set import ON_DELETE, StatefulSetActivities, flag_of
from replace_etcd.cluster import CONFIG_MAP, STATEFUL_SET, Object, Patch
from replace_etcd.errors import RecordGone
from replace_etcd.models.orders import Order
from replace_etcd.models.phase import Phase
from tests.activities.conftest import SETTINGS, Bench

ROLLING: Patch = [{"op": "replace", "path": "/spec/updateStrategy", "value": {"type": "RollingUpdate"}}]


@pytest.fixture
async def guarded(bench: Bench) -> Bench:
    """A replacement past its removal, with its edit of the template standing."""
    await bench.claim()
    await bench.run(StatefulSetActivities(bench.tools).join_existing_on_delete, bench.order(Order))
    return bench


@asynccontextmanager
async def guard(
    bench: Bench, phase: Phase = Phase.REMOVING, furthest: Phase = Phase.PREFLIGHT
) -> AsyncIterator[asyncio.Future[object]]:
    """Stand guard, or say that there is nothing to guard, and end it as Temporal does."""
    environment, stands = ActivityEnvironment(), asyncio.Event()
    environment.on_heartbeat = lambda said, *_: stands.set() if "waiting for" in str(said) else None
    order = bench.order(Order, phase)
    fence = order.fence.model_copy(update={"furthest": furthest})
    standing = environment.run(
        GuardActivities(bench.tools).stand_guard, order.model_copy(update={"fence": fence})
    )
    task: asyncio.Future[object] = asyncio.ensure_future(standing)
    waiting = asyncio.create_task(stands.wait())
    either: set[asyncio.Future[Any]] = {task, waiting}
    assert (await asyncio.wait(either, timeout=30, return_when=asyncio.FIRST_COMPLETED))[0]
    waiting.cancel()
    try:
        yield task
    finally:
        environment.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def patch(bench: Bench, operations: Patch) -> None:
    """Somebody else edits the StatefulSet."""
    await bench.cluster.patch(STATEFUL_SET, "kube-etcd", bench.pins.user_cluster, operations)


async def until(bench: Bench, holds: Callable[[Object | None], bool]) -> Object:
    found = await bench.cluster.wait_for(
        STATEFUL_SET, "kube-etcd", bench.pins.user_cluster, holds, seconds=30
    )
    assert found is not None
    return found


def stands(bench: Bench) -> Callable[[Object | None], bool]:
    def holds(found: Object | None) -> bool:
        assert found is not None
        strategy = found["spec"]["updateStrategy"]
        return strategy == ON_DELETE and flag_of(found, bench.pins) == bench.pins.flag.existing

    return holds


async def test_a_strategy_that_somebody_restores_goes_back(guarded: Bench) -> None:
    async with guard(guarded):
        for _ in range(3):
            await patch(guarded, ROLLING)
            await until(guarded, stands(guarded))


async def test_a_flag_that_somebody_restores_goes_back(guarded: Bench) -> None:
    pins = guarded.pins
    async with guard(guarded):
        await patch(guarded, [{"op": "replace", "path": pins.flag.pointer, "value": pins.flag.original}])
        await until(guarded, stands(guarded))


async def test_what_was_reverted_before_the_guard_came_goes_back_too(guarded: Bench) -> None:
    await patch(guarded, ROLLING)
    async with guard(guarded):
        await until(guarded, stands(guarded))


async def test_another_edit_is_left_as_it_is(guarded: Bench) -> None:
    labels: Patch = [{"op": "add", "path": "/spec/template/metadata/labels/edited", "value": "yes"}]
    async with guard(guarded):
        await patch(guarded, [*labels, *ROLLING])
        found = await until(guarded, stands(guarded))
    assert found["spec"]["template"]["metadata"]["labels"]["edited"] == "yes"


async def test_nothing_is_guarded_before_the_removal(guarded: Bench) -> None:
    """There a revert means roll back, never fight."""
    await patch(guarded, ROLLING)
    async with guard(guarded, Phase.DRAINING) as ended:
        assert "nothing to guard" in (await asyncio.wait_for(ended, 30)).note  # type: ignore[attr-defined]
    assert (await guarded.stateful_set())["spec"]["updateStrategy"] != ON_DELETE


async def test_the_guard_ends_with_the_record(guarded: Bench) -> None:
    """One whose record another has taken does not write any more."""
    async with guard(guarded):
        await patch(guarded, ROLLING)
        await until(guarded, stands(guarded))
        heir = guarded.order(Order, Phase.CLEANING)
        await guarded.run(StatefulSetActivities(guarded.tools).join_existing_on_delete, heir)
        await patch(guarded, ROLLING)
        with pytest.raises(Exception, match="did not happen"):
            await guarded.cluster.wait_for(
                STATEFUL_SET, "kube-etcd", guarded.pins.user_cluster, stands(guarded), seconds=2
            )


@pytest.mark.parametrize("phase", [Phase.RESTORING, Phase.VERIFYING])
async def test_what_came_back_once_the_new_member_is_a_voter_stays_so(guarded: Bench, phase: Phase) -> None:
    pins = guarded.pins
    await patch(guarded, [{"op": "replace", "path": pins.flag.pointer, "value": pins.flag.original}])
    async with guard(guarded, phase):
        await patch(guarded, ROLLING)
        found = await until(guarded, lambda found: (found or {})["spec"]["updateStrategy"] == ON_DELETE)
        assert flag_of(found, pins) == pins.flag.original


@pytest.mark.parametrize("phase", [Phase.RESTORING, Phase.VERIFYING])
async def test_a_strategy_that_is_back_once_the_new_member_is_a_voter_is_not_guarded(
    guarded: Bench, phase: Phase
) -> None:
    await patch(guarded, ROLLING)
    async with guard(guarded, phase) as ended:
        assert "nothing to guard" in (await asyncio.wait_for(ended, 30)).note  # type: ignore[attr-defined]
    assert (await guarded.stateful_set())["spec"]["updateStrategy"] != ON_DELETE


async def test_a_guard_whose_record_is_deleted_is_begun_anew(guarded: Bench) -> None:
    """It may write no more, and must not look as if it did; the next attempt writes the record again."""
    await guarded.run(
        StatefulSetActivities(guarded.tools).join_existing_on_delete, guarded.order(Order, Phase.CLEANING)
    )
    async with guard(guarded, Phase.HELD, Phase.CLEANING) as first:
        await patch(guarded, ROLLING)
        await until(guarded, stands(guarded))
        await delete_record(guarded)
        await patch(guarded, ROLLING)
        with pytest.raises(RecordGone):
            await asyncio.wait_for(first, 30)
    async with guard(guarded, Phase.HELD, Phase.CLEANING):
        await until(guarded, stands(guarded))


async def test_a_wait_under_guard_ends_with_the_record(guarded: Bench) -> None:
    """Whoever waits for the new member has no right to go on, either."""

    async def wait() -> None:
        async with (
            fenced(guarded.tools, guarded.order(Order, Phase.REJOINING)) as attempt,
            asyncio.timeout(30),
            edit_stands(guarded.tools, attempt, guarded.pins),
        ):
            await delete_record(guarded)
            await patch(guarded, ROLLING)
            await asyncio.Event().wait()

    with pytest.raises(RecordGone):
        await ActivityEnvironment().run(wait)


async def delete_record(bench: Bench) -> None:
    namespace = bench.pins.user_cluster
    found = await bench.cluster.get(CONFIG_MAP, SETTINGS.record, namespace)
    assert found is not None
    await bench.cluster.delete(CONFIG_MAP, SETTINGS.record, namespace, uid=found["metadata"]["uid"])
