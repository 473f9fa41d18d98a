"""The edit of the template must stand while a member is missing: a watch puts it back at once.

Before the removal a revert by somebody else means roll back, never fight. After it the same revert would let the
StatefulSet controller restart survivors, each time at the price of the quorum; so `OnDelete` goes back first, then
`existing` (docs/contract.md, Order, 3).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

from activities.fencing import Attempt, fenced
from activities.guarded_patch import guarded_patch
from activities.stateful_set import ON_DELETE, flag_of, read_stateful_set
from activities.step import Toolbox, step, tell
from replace_etcd.cluster import STATEFUL_SET, Object, Patch
from replace_etcd.errors import ClusterError, LockLost, Moved, NotYet, RecordGone, Unreachable
from replace_etcd.models.orders import Done, HoldOrder, Order
from replace_etcd.models.phase import PAST_THE_REMOVAL, REJOINED
from replace_etcd.models.plan import Pins

WATCH_SECONDS = 300.0
RETRY_SECONDS = 0.5


class GuardActivities:
    """What is done while a replacement holds."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def note_hold(self, order: HoldOrder) -> Done:
        """Write into the record why the replacement holds."""
        async with fenced(self._tools, order) as attempt:
            await attempt.write_down(reason=order.reason)
        return Done(note=order.reason)

    @step
    async def stand_guard(self, order: Order) -> Done:
        """Keep the edit standing until this is cancelled; nothing is guarded where the member is not removed.

        Once the new member is a voter the flag comes back, and then the strategy: what is back already stays so.
        """
        async with fenced(self._tools, order) as attempt:
            if attempt.namespace_is_gone:
                return Done(note="moot: the namespace is gone")
            _, record = await attempt.read()
            if record.furthest not in PAST_THE_REMOVAL:
                return Done(note="nothing is removed: nothing to guard")
            rejoined = record.furthest in REJOINED
            if (
                rejoined
                and (await read_stateful_set(self._tools, order.pins))["spec"]["updateStrategy"] != ON_DELETE
            ):
                return Done(note="the new member is a voter, and the strategy is back: nothing to guard")
            async with edit_stands(self._tools, attempt, order.pins, flag=not rejoined) as guard:
                tell(f"OnDelete {'stands' if rejoined else 'and existing stand'}; waiting for `resolve`")
                await guard
        return Done()


@asynccontextmanager
async def edit_stands(
    tools: Toolbox, attempt: Attempt, pins: Pins, *, flag: bool = True
) -> AsyncIterator[asyncio.Task[None]]:
    """Put back `OnDelete`, and with `flag` also `existing`, whenever somebody reverts them meanwhile.

    `RecordGone` where somebody deletes the record: the next attempt writes it again, and this one may guard no more.
    """
    guard = asyncio.create_task(_guard(tools, attempt, pins, flag))
    guarded = cast("asyncio.Task[object]", asyncio.current_task())
    guard.add_done_callback(lambda ended: None if _ended_well(ended) else guarded.cancel())
    try:
        yield guard
    except asyncio.CancelledError:
        if _ended_well(guard):
            raise
        guarded.uncancel()  # it was the guard that ended us: its error is ours
        guard.result()
    finally:
        guard.cancel()
        with suppress(asyncio.CancelledError):
            await guard


def _ended_well(guard: asyncio.Task[None]) -> bool:
    """Whether nothing is wrong with it: it goes on, was ended, or has lost the record to another order."""
    return not guard.done() or guard.cancelled() or guard.exception() is None


async def _guard(tools: Toolbox, attempt: Attempt, pins: Pins, flag: bool) -> None:
    """What cannot be seen now is looked at again; an attempt that has lost the record guards nothing."""
    while True:
        try:
            await _until_reverted(tools, pins, flag)
            await _put_back(tools, attempt, pins, flag)
        except NotYet:
            continue  # nobody touched it while the watch lasted
        except RecordGone:
            raise
        except (LockLost, Moved):
            return
        except (ClusterError, Unreachable) as error:
            tell(f"the edit of the StatefulSet cannot be watched: {error}")
            await asyncio.sleep(RETRY_SECONDS)


async def _until_reverted(tools: Toolbox, pins: Pins, flag: bool) -> None:
    name = tools.settings.stateful_set
    await tools.cluster.wait_for(
        STATEFUL_SET,
        name,
        pins.user_cluster,
        lambda found: bool(_reverted(found, pins, flag)),
        seconds=WATCH_SECONDS,
    )


async def _put_back(tools: Toolbox, attempt: Attempt, pins: Pins, flag: bool) -> None:
    name = tools.settings.stateful_set
    await guarded_patch(
        tools,
        attempt,
        STATEFUL_SET,
        name,
        pins.user_cluster,
        change=lambda found: _reverted(found, pins, flag),
    )
    tell("somebody reverted the edit of the StatefulSet while a member is missing: put back")


def edit_is_gone(found: Object | None, pins: Pins) -> bool:
    """Whether nothing of the edit stands: the replacement never came to it, or all of it is back; else it may."""
    if found is None or found["metadata"]["uid"] != pins.stateful_set_uid:
        return True
    return found["spec"]["updateStrategy"] != ON_DELETE and flag_of(found, pins) != pins.flag.existing


def _reverted(found: Object | None, pins: Pins, flag: bool) -> Patch:
    """What is to be written so that the edit stands; empty where it does, or the object is another one."""
    if found is None or found["metadata"]["uid"] != pins.stateful_set_uid:
        return []
    operations: Patch = []
    if found["spec"]["updateStrategy"] != ON_DELETE:
        operations.append({"op": "replace", "path": "/spec/updateStrategy", "value": ON_DELETE})
    if flag and flag_of(found, pins) == pins.flag.original != pins.flag.existing:
        operations.append({"op": "replace", "path": pins.flag.pointer, "value": pins.flag.existing})
    return operations
