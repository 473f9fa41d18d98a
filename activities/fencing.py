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

from temporalio import activity

from activities.step import Toolbox, tell
from replace_etcd.cluster import CONFIG_MAP, Object
from replace_etcd.errors import ClusterError, Conflict, LockLost, Moved, OutcomeUnknown, Unreachable
from replace_etcd.models.orders import Order
from replace_etcd.models.record import Record
from replace_etcd.models.result import Phase

LEASE = timedelta(seconds=30)
# A change is sent only with this much of the lease left: more than the time limit of any one request.
LEFT_FOR_A_CHANGE = timedelta(seconds=18)

# A forward step that finds the record gone gives up, and its compensations write it again.
NOTHING_TO_PUT_BACK = (Phase.PROTECTING, Phase.DRAINING, Phase.SNAPSHOTTING)


class Attempt:
    """The right of one attempt to change things."""

    def __init__(self, tools: Toolbox, order: Order) -> None:
        self._tools = tools
        self._order = order
        self.token = uuid.uuid4().hex
        self._until = datetime.now(UTC)

    async def hold(self, phase: Phase | None = None) -> None:
        """Ask right before a change: `LockLost` where another order has the record.

        With `phase`, write that phase first: it is how `removing` stands in the record before the command is sent.
        """
        config_map, record = await self._read()
        self._must_be_ours(record)
        if self._until - datetime.now(UTC) < LEFT_FOR_A_CHANGE or (phase and record.phase is not phase):
            await self._write(config_map, record.model_copy(update={"phase": phase or record.phase}))

    async def begin(self) -> Record:
        """Take the record, after the time of whoever held it before; returns the record as it was found."""
        while True:
            config_map, record = await self._read_or_write_again()
            self._must_not_be_late(record)
            await _until(record.until)
            with suppress(Conflict):
                await self._write(config_map, record.model_copy(update=self._claim(record)))
                return record

    async def end(self) -> None:
        """Give the record up: no change of this attempt is under way any more."""
        with suppress(ClusterError, Unreachable, LockLost, Moved):
            config_map, record = await self._read()
            self._must_be_ours(record)
            await self._write(config_map, record, until=datetime.now(UTC))

    def _claim(self, record: Record) -> dict[str, object]:
        fence = self._order.fence
        # A retry of the removal finds `removing` and keeps it, whatever phase its order was given in.
        phase = record.phase if record.generation == fence.generation else fence.phase
        return {"attempt": self.token, "generation": fence.generation, "run_id": fence.run_id, "phase": phase}

    def _must_be_ours(self, record: Record) -> None:
        if record.attempt != self.token:
            raise LockLost(
                f"the record has been taken by generation {record.generation} of {record.workflow_id}"
            )

    def _must_not_be_late(self, record: Record) -> None:
        fence = self._order.fence
        identity = self._tools.temporal
        chain = (identity.cluster_id, identity.namespace, fence.workflow_id, fence.first_run_id)
        if record.chain != chain:
            raise LockLost(f"the record belongs to {record.workflow_id} (first run {record.first_run_id})")
        if record.run_id == fence.run_id:
            late = record.generation > fence.generation
        else:  # one of the two runs is a reset of the other: the later order counts
            late = activity.info().scheduled_time < record.updated_at
        if late:
            raise LockLost(f"order {fence.generation} is late: the record is at {record.generation}")

    async def _read_or_write_again(self) -> tuple[Object, Record]:
        """Once there is something to put back, a record that somebody deleted does not keep us from it."""
        try:
            return await self._read()
        except Moved:
            if self._order.fence.phase in NOTHING_TO_PUT_BACK:
                raise
        with suppress(Conflict):
            manifest = new_record(self._tools, self._order)
            await self._tools.cluster.create(CONFIG_MAP, manifest, self._order.pins.user_cluster)
        return await self._read()

    async def _read(self) -> tuple[Object, Record]:
        namespace = self._order.pins.user_cluster
        name = self._tools.settings.record
        config_map = await self._tools.cluster.get(CONFIG_MAP, name, namespace)
        if config_map is None:
            raise Moved(f"the record (ConfigMap {namespace}/{name}) is gone")
        return config_map, Record.from_data(config_map["data"])

    async def _write(self, config_map: Object, record: Record, until: datetime | None = None) -> None:
        now = datetime.now(UTC)
        self._until = until or now + LEASE
        written = record.model_copy(update={"until": self._until, "updated_at": now})
        await self._tools.cluster.replace(CONFIG_MAP, config_map | {"data": written.to_data()})


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
        until=now,
        started_at=now,
        updated_at=now,
        replica=pins.replica,
        node=pins.node,
        member_id=pins.member_id,
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": tools.settings.record, "namespace": pins.user_cluster},
        "data": record.to_data(),
    }


@asynccontextmanager
async def fenced(tools: Toolbox, order: Order) -> AsyncIterator[Attempt]:
    """Hold the record for one attempt.

    It is given up at the end, unless a change may still be under way: then its time has to run out.
    """
    attempt = Attempt(tools, order)
    await attempt.begin()
    try:
        yield attempt
    except (OutcomeUnknown, Unreachable, asyncio.CancelledError):
        raise
    except Exception:
        await attempt.end()
        raise
    await attempt.end()


async def _until(moment: datetime) -> None:
    """Wait for a moment; sleeping is right here, since nothing announces that nothing will happen."""
    while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
        tell(f"waiting {left:.0f} s until no earlier attempt can act any more")
        await asyncio.sleep(min(left, 1.0))
