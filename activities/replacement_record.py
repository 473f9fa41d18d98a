"""The record of the replacement: claimed before the first change, deleted last.

`claim_replacement_record` is idempotent by the identity of the chain of runs; `delete_replacement_record` and
`close_replacement_record` by the fence.
"""

from activities.announcing import announce
from activities.fencing import (
    Attempt,
    fenced,
    must_know_what_was_begun,
    must_not_be_taken,
    new_record,
    record_data,
    wait_out,
)
from activities.step import Toolbox, step
from replace_etcd.cluster import CONFIG_MAP, Object
from replace_etcd.errors import Conflict, LockLost
from replace_etcd.models.orders import ClosingOrder, Done, Order
from replace_etcd.models.phase import Phase
from replace_etcd.models.record import Record
from replace_etcd.models.result import Outcome


class RecordActivities:
    """Steps that act on the record."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def claim_replacement_record(self, order: Order) -> Done:
        """Create the record, or find that it is ours, or take over the one of a run that the plan names.

        `LockLost` where another replacement has it: nothing was changed.
        """
        manifest = new_record(self._tools, order)
        try:
            await self._tools.cluster.create(CONFIG_MAP, manifest, order.pins.user_cluster)
        except Conflict:
            return await self._find_or_take_over(order, manifest)
        announce(self._tools, Record.from_data(manifest["data"]))
        return Done(note=f"ConfigMap {order.pins.user_cluster}/{self._tools.settings.record} created")

    @step
    async def close_replacement_record(self, order: ClosingOrder) -> Done:
        """Write down how the replacement ended and why; the record stays for whoever goes on."""
        async with fenced(self._tools, order) as attempt:
            await attempt.hold()
            config_map, record = await self._read(order)
            closed = record.model_copy(update={"outcome": order.outcome, "reason": order.reason})
            await self._tools.cluster.replace(
                CONFIG_MAP, config_map | {"data": record_data(self._tools, closed)}
            )
            announce(self._tools, closed, order.outcome)
        return Done(note=order.reason)

    @step
    async def delete_replacement_record(self, order: Order) -> Done:
        """Delete the record: everything is back, and no attempt of this run can be alive."""
        must_know_what_was_begun(order)
        attempt = Attempt(self._tools, order)
        if (
            await self._tools.cluster.get(CONFIG_MAP, self._tools.settings.record, order.pins.user_cluster)
            is None
        ):
            return Done(note="it was gone already")
        await attempt.begin()
        config_map, record = await self._read(order)
        metadata = config_map["metadata"]
        await self._tools.cluster.delete(
            CONFIG_MAP,
            metadata["name"],
            metadata["namespace"],
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
        )
        undone = order.fence.phase is Phase.ROLLING_BACK
        announce(self._tools, record, Outcome.ROLLED_BACK if undone else Outcome.REPLACED)
        return Done()

    async def _find_or_take_over(self, order: Order, manifest: Object) -> Done:
        wanted = Record.from_data(manifest["data"])
        config_map, record = await self._read(order)
        must_not_be_taken(record)
        if record.chain == wanted.chain:
            return Done(note="the record is this replacement's already")
        if record.first_run_id not in order.fence.heir_of:
            raise LockLost(
                f"another replacement is under way: {record.workflow_id} is {record.phase.value} since "
                f"{record.updated_at:%Y-%m-%d %H:%M:%S} UTC (ConfigMap {self._tools.settings.record})"
            )
        await wait_out(record)  # its newest attempt may still be alive
        kept = record.model_dump(include={"furthest", "backup", "new_member_id"})
        inherited = Record.model_validate(wanted.model_dump() | kept)
        data = record_data(self._tools, inherited)
        await self._tools.cluster.replace(CONFIG_MAP, config_map | {"data": data})
        return Done(note=f"taken over from {record.workflow_id}, run {record.first_run_id}")

    async def _read(self, order: Order) -> tuple[Object, Record]:
        name = self._tools.settings.record
        config_map = await self._tools.cluster.get(CONFIG_MAP, name, order.pins.user_cluster)
        if config_map is None:
            raise LockLost(f"the record (ConfigMap {name}) is gone")
        return config_map, Record.from_data(config_map["data"])
