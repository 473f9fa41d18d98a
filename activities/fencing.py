"""Fencing: an attempt that is late, or that belongs to another run, must not change anything.

The record (a ConfigMap in the user cluster's namespace) says which run acts, in which phase, under which
generation, and until when its newest attempt may still send changes. An attempt takes the record by
compare-and-swap, asks it again right before each change, and gives it up when it ends. Whoever comes next
(a retry, a compensation) waits until that time has passed (docs/contract.md, Fencing, 1 to 3).
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity

from activities.announcing import announce
from activities.step import Toolbox, tell
from replace_etcd.by_hand import instructions
from replace_etcd.cluster import CONFIG_MAP, Object
from replace_etcd.errors import (
    ClusterError,
    Conflict,
    LockLost,
    MoreToPutBack,
    Moved,
    NotYet,
    OutcomeUnknown,
    RecordGone,
    RemovalForgotten,
    Unreachable,
)
from replace_etcd.models.orders import Order
from replace_etcd.models.phase import BEFORE_THE_REMOVAL, PAST_THE_REMOVAL, Phase, further
from replace_etcd.models.plan import Pins
from replace_etcd.models.record import Record
from replace_etcd.runs import Chain

LEASE = timedelta(seconds=30)
# A change is sent only with this much of the lease left: more than the time limit of any one request.
LEFT_FOR_A_CHANGE = timedelta(seconds=18)


class Attempt:
    """The right of one attempt to change things."""

    def __init__(self, tools: Toolbox, order: Order) -> None:
        self._tools = tools
        self._order = order
        self.token = uuid.uuid4().hex
        self._until = datetime.now(UTC)
        self.namespace_is_gone = False
        self._written: tuple[Object, Record] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._under_way = 0

    async def hold(self, phase: Phase | None = None) -> None:
        """Ask right before a change: `LockLost` where another order has the record.

        The change counts as under way until `settled` says that its answer has come.

        With `phase`, write that phase first: it is how `removing` stands in the record before the command is sent,
        and how it goes again where the command certainly never started.
        """
        if self.namespace_is_gone:
            return
        self._under_way += 1
        async with self._one_at_a_time:
            while True:
                config_map, record = await self.read()
                self._must_be_ours(record)
                enough = self._until - datetime.now(UTC) >= LEFT_FOR_A_CHANGE
                if enough and (phase is None or record.phase is phase):
                    return
                changes = {} if phase is None else {"phase": phase, "furthest": phase}
                await self._write(config_map, record.model_copy(update=changes))

    async def write_down(self, **fields: object) -> None:
        """Let the record say something that whoever goes on, or puts things back, has to know."""
        if self.namespace_is_gone:
            return
        async with self._one_at_a_time:
            config_map, record = await self.read()
            self._must_be_ours(record)
            await self._write(config_map, record.model_copy(update=fields))

    def settled(self) -> None:
        """The answer to a change has come: for steps that wait for long between changes, and may be stopped there."""
        self._under_way -= 1

    @property
    def nothing_under_way(self) -> bool:
        """Whether no change of this attempt can still take effect."""
        return not self._under_way

    async def begin(self, *, keep_phase: bool = False) -> Record | None:
        """Take the record, after the time of whoever held it before; returns the record as it was found.

        None where the namespace is gone and the record with it: nobody can hold it, or anything in there.
        """
        must_know_what_was_begun(self._order)
        while True:
            try:
                config_map, record = await self._read_or_write_again()
            except _NamespaceIsGone:
                self.namespace_is_gone = True
                return None
            await self._must_not_be_late(record)
            await wait_out(record)
            claim = self._claim(record)
            if keep_phase:
                claim |= {"phase": record.phase, "furthest": record.furthest}
            with suppress(Conflict):
                await self._write(config_map, record.model_copy(update=claim))
                return record

    async def end(self) -> None:
        """Give the record up: no change of this attempt is under way any more.

        What it wrote last is what it writes upon; the record is asked for only where somebody has written since.
        """
        if self._written is None:  # there was none to take
            return
        with suppress(ClusterError, Unreachable, LockLost, Moved):
            try:
                await self._give_up(*self._written)
            except Conflict:
                config_map, record = await self.read()
                self._must_be_ours(record)
                await self._give_up(config_map, record)

    async def _give_up(self, config_map: Object, record: Record) -> None:
        """Without its token, what is left of this attempt cannot hold the record once more."""
        await self._write(config_map, record.model_copy(update={"attempt": ""}), until=datetime.now(UTC))

    async def read(self) -> tuple[Object, Record]:
        """The record as it stands; `RecordGone` where it is gone."""
        namespace = self._order.pins.user_cluster
        name = self._tools.settings.record
        config_map = await self._tools.cluster.get(CONFIG_MAP, name, namespace)
        if config_map is None:
            raise RecordGone(f"the record (ConfigMap {namespace}/{name}) is gone")
        return config_map, Record.from_data(config_map["data"])

    async def look(self) -> Record | None:
        """The record of this chain of runs, None where there is none; it is not taken by that.

        `LockLost` where it is another chain's, or a person has taken it.
        """
        try:
            _, record = await self.read()
        except RecordGone:
            return None
        must_not_be_taken(record)
        self._must_be_of_this_chain(record)
        return record

    def _claim(self, record: Record) -> dict[str, object]:
        """What this attempt writes; no order lowers a phase past the removal to one before it."""
        fence = self._order.fence
        kept = record.furthest in PAST_THE_REMOVAL and fence.phase in BEFORE_THE_REMOVAL
        return {
            "attempt": self.token,
            "attempt_number": activity.info().attempt,
            "generation": fence.generation,
            "run_id": fence.run_id,
            "outcome": None,  # what goes on has none, whatever a run that was reset had come to
            "phase": record.phase if kept else fence.phase,
            "furthest": further(record.furthest, fence.phase),
            **_what_is_pinned(self._order.pins),
        }

    def _must_be_ours(self, record: Record) -> None:
        must_not_be_taken(record)
        if record.attempt != self.token:
            raise LockLost(
                f"the record has been taken by generation {record.generation} of {record.workflow_id}"
            )

    async def _must_not_be_late(self, record: Record) -> None:
        must_not_be_taken(record)
        self._must_be_of_this_chain(record)
        fence, info = self._order.fence, activity.info()
        if record.run_id == fence.run_id:
            late = (record.generation, record.attempt_number) > (fence.generation, info.attempt)
        else:  # one of the two runs is a reset of the other: the newer one counts
            newest = await self._tools.runs.is_newest(fence.workflow_id, fence.run_id)
            late = info.scheduled_time < record.updated_at if newest is None else not newest
        if late:
            raise LockLost(
                f"order {fence.generation} is late: the record is at {record.generation}, {record.phase.value}"
            )
        undoes = fence.phase in (*BEFORE_THE_REMOVAL, Phase.ROLLING_BACK)
        if record.run_id != fence.run_id and undoes and record.furthest in PAST_THE_REMOVAL:
            raise RemovalForgotten(
                f"this run was reset to before a removal that is {record.phase.value} by now"
            )

    def _must_be_of_this_chain(self, record: Record) -> None:
        identity, fence = self._tools.temporal, self._order.fence
        if record.chain != (identity.cluster_id, identity.namespace, fence.workflow_id, fence.first_run_id):
            raise LockLost(f"the record belongs to {record.workflow_id} (first run {record.first_run_id})")

    async def _read_or_write_again(self) -> tuple[Object, Record]:
        """Once there is something to put back, a record that somebody deleted does not keep us from it."""
        try:
            return await self.read()
        except Moved:
            if self._order.fence.phase in BEFORE_THE_REMOVAL:
                raise
        await self._must_go_on()
        with suppress(Conflict):
            manifest = new_record(self._tools, self._order)
            try:
                await self._tools.cluster.create(CONFIG_MAP, manifest, self._order.pins.user_cluster)
            except ClusterError as error:
                if error.status == 404 or any(
                    c.get("reason") == "NamespaceTerminating" for c in error.causes
                ):
                    raise _NamespaceIsGone from error
                raise
        return await self.read()

    async def _must_go_on(self) -> None:
        """`LockLost` where our run has ended: the record is gone because it was the last thing to go.

        A worker that was frozen wakes up with an order that another one has long carried out, and so has the rest.
        """
        run = Record.from_data(new_record(self._tools, self._order)["data"])
        chain = await self._tools.runs.state_of(run)
        if chain is Chain.UNKNOWN:
            raise NotYet("the record is gone, and Temporal cannot be asked whether this run still goes on")
        if chain is not Chain.RUNNING:
            raise LockLost("the record is gone, and this run has ended")

    async def _write(self, config_map: Object, record: Record, until: datetime | None = None) -> None:
        now = datetime.now(UTC)
        self._until = until or now + LEASE
        written = record.model_copy(update={"until": self._until, "updated_at": now})
        replaced = await self._tools.cluster.replace(
            CONFIG_MAP, config_map | {"data": record_data(self._tools, written)}
        )
        self._written = replaced, written
        before = Record.from_data(config_map["data"])
        held = written.phase is Phase.HELD  # why it holds is written after the phase
        if written.reason != before.reason if held else written.phase is not before.phase:
            announce(self._tools, written)


class _NamespaceIsGone(Exception):
    """The namespace is terminating, or gone."""


def new_record(tools: Toolbox, order: Order) -> Object:
    """The ConfigMap of a record that begins with this order."""
    now, fence, pins = datetime.now(UTC), order.fence, order.pins
    record = Record(
        temporal_cluster_id=tools.temporal.cluster_id,
        temporal_namespace=tools.temporal.namespace,
        workflow_id=fence.workflow_id,
        first_run_id=fence.first_run_id,
        run_id=fence.run_id,
        generation=fence.generation,
        phase=fence.phase,
        furthest=further(fence.furthest, fence.phase),
        until=now,
        started_at=now,
        updated_at=now,
        heir_of=fence.heir_of,
        **_what_is_pinned(pins),
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": tools.settings.record, "namespace": pins.user_cluster},
        "data": record_data(tools, record),
    }


def _what_is_pinned(pins: Pins) -> dict[str, Any]:
    """The part of the latest plan by which somebody puts things back: the pod may be on another node by now."""
    return {"replica": pins.replica, "node": pins.node, "member_id": pins.member_id, "pins": pins}


def record_data(tools: Toolbox, record: Record) -> dict[str, str]:
    """The data of the ConfigMap: the record, and the words for a person that go with its phase."""
    return record.model_copy(update={"by_hand": instructions(record, tools.settings)}).to_data()


@asynccontextmanager
async def fenced(tools: Toolbox, order: Order) -> AsyncIterator[Attempt]:
    """Hold the record for one attempt.

    It is given up at the end, unless a change may still be under way: then its time has to run out.
    """
    attempt = Attempt(tools, order)
    await attempt.begin()
    try:
        yield attempt
    except asyncio.CancelledError:
        if attempt.nothing_under_way:
            await attempt.end()
        raise
    except (OutcomeUnknown, Unreachable, TimeoutError):
        raise
    except Exception:
        await attempt.end()
        raise
    await attempt.end()


def must_know_what_was_begun(order: Order) -> None:
    """`MoreToPutBack` where a run that goes on with another's work would go back by what it knows itself."""
    fence = order.fence
    if fence.phase is Phase.ROLLING_BACK and fence.goes_on and not fence.every_way_back:
        raise MoreToPutBack("whoever came before this run may have begun more than it knows of")


def must_not_be_taken(record: Record) -> None:
    """`LockLost` where a person goes on by hand, as the record's own words say how to (`replace_etcd.by_hand`)."""
    if record.taken_by_hand:
        raise LockLost(f"{record.taken_by_hand} has taken the record over and goes on by hand")


async def wait_out(record: Record) -> None:
    """Wait until no attempt that held the record can act any more; nothing announces that, so it sleeps."""
    while (left := (record.until - datetime.now(UTC)).total_seconds()) > 0:
        tell(f"waiting {left:.0f} s until no earlier attempt can act any more")
        await asyncio.sleep(min(left, 1.0))
