"""The janitor's hands: find records whose run was ended from outside, and take them over.

A terminated workflow runs no compensation, and a server that lost its store does not even know of it. What tells
is the record, and the Temporal that it names; a record is taken only where that one says that its chain of runs is
closed, or a person does (docs/contract.md, Fencing, 6).
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError
from temporalio import activity

from activities.audit_log import complete_audit
from activities.fencing import must_not_be_taken, record_data, wait_out
from activities.pod_disruption_budget import PodDisruptionBudgetActivities, backup_of
from activities.step import Toolbox, step
from replace_etcd.cluster import CONFIG_MAP, PDB, Object
from replace_etcd.errors import Conflict, Forbidden, LockLost
from replace_etcd.models.orders import Done
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup, Pins
from replace_etcd.models.record import Record
from replace_etcd.models.restoring import (
    ProtectOrder,
    RecordsFound,
    Restored,
    Search,
    TakenOver,
    TakeOverOrder,
    Verdict,
)
from replace_etcd.runs import Chain

VERDICTS = {
    Chain.RUNNING: Verdict.RUNNING,
    Chain.CLOSED: Verdict.INTERRUPTED,
    Chain.SUCCEEDED_BY: Verdict.SUCCEEDED,
    Chain.UNKNOWN: Verdict.UNKNOWN,
}
# Phases that wait for people or for other runs: nothing that protects is missing then, and no limit that an input
# can name is longer (replace_etcd/models/request.py).
WAITING = (Phase.WAITING_FOR_APPROVAL, Phase.WAITING_FOR_NODE, Phase.HELD)
LONGEST_WAIT = timedelta(days=30)
BY_THE_RECORD = "finish by hand, by the words of the ConfigMap, and delete it"


class JanitorActivities:
    """Steps of `RestoreInterruptedReplacement`."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._budget = PodDisruptionBudgetActivities(tools)

    @step
    async def find_interrupted_replacements(self, search: Search) -> RecordsFound:
        """Read every record and ask Temporal about its run; changes nothing but the audit, in a sweep."""
        records = [await self._judge(found) for found in await self._records(search)]
        if search.user_cluster is None:
            await complete_audit(self._tools, {record.run_id for record in records})
        return RecordsFound(records=records, note=f"{len(records)} records")

    @step
    async def take_over_record(self, order: TakeOverOrder) -> TakenOver:
        """Become the holder by compare-and-swap, once nothing that the old one has sent can take effect any more.

        Idempotent by the holder that it writes. `LockLost` where the record is another chain's, or its chain lives,
        or where it has an outcome and nobody has given a word: nothing was changed.
        """
        while True:
            config_map, record = await self._read(order)
            if record.first_run_id == order.fence.first_run_id:
                must_not_be_taken(record)
                return await self._taken(record)
            await self._must_be_free(record, order)
            await wait_out(record)
            inherited = self._inherited(record, order)
            data = record_data(self._tools, inherited)
            with suppress(Conflict):  # the last attempt of the old holder gave it up: look again
                await self._tools.cluster.replace(CONFIG_MAP, config_map | {"data": data})
                return await self._taken(inherited)

    @step
    async def protect_stuck_replacement(self, order: ProtectOrder) -> Done:
        """Raise the alarm, and let a budget stand where there is none: always safe, and nobody's record is taken.

        Idempotent: a budget that stands, whoever's it is, is left as it is.
        """
        activity.logger.error(f"a replacement makes no progress: {order.why}")
        config_map = await self._tools.cluster.get(
            CONFIG_MAP, self._tools.settings.record, order.user_cluster
        )
        record = Record.from_data(config_map["data"]) if config_map else None
        if record is None or record.backup is None or record.backup.manifest is None:
            return Done(note="there is no backup of a budget")
        wanted = record.backup.manifest
        name = wanted["metadata"]["name"]
        if await self._tools.cluster.get(PDB, name, order.user_cluster) is not None:
            return Done(note=f"{name} is there")
        manifest = await self._budget.with_living_owners(wanted)
        with suppress(Conflict):  # somebody was faster
            await self._tools.cluster.create(PDB, manifest, order.user_cluster)
        return Done(note=f"{name} is back")

    async def _records(self, search: Search) -> list[Object]:
        settings = self._tools.settings
        namespaces = [search.user_cluster] if search.user_cluster else settings.namespaces
        if namespaces:
            found = [await self._tools.cluster.get(CONFIG_MAP, settings.record, name) for name in namespaces]
            return [config_map for config_map in found if config_map is not None]
        try:
            return await self._tools.cluster.find(CONFIG_MAP, fields=f"metadata.name={settings.record}")
        except Forbidden as error:
            way_out = (
                "grant list of configmaps cluster-wide, or name the user clusters in REPLACE_ETCD_NAMESPACES"
            )
            raise Forbidden(error.status, error.reason, f"{error.message}; {way_out}") from error

    async def _judge(self, config_map: Object) -> Restored:
        user_cluster = config_map["metadata"]["namespace"]
        try:
            record = Record.from_data(config_map.get("data") or {})
        except (ValidationError, KeyError) as error:
            why = f"ConfigMap {user_cluster}/{self._tools.settings.record} is no record ({error}); {BY_THE_RECORD}"
            activity.logger.error(why)
            return Restored(user_cluster=user_cluster, verdict=Verdict.UNREADABLE, reason=why)
        if record.taken_by_hand:
            return _found(user_cluster, record, Verdict.BY_HAND, f"by {record.taken_by_hand}")
        if record.outcome is not None:
            return _found(user_cluster, record, Verdict.CONCLUDED, record.reason)
        chain = await self._chain(record)
        idle = datetime.now(UTC) - record.updated_at
        if chain is not Chain.CLOSED and idle > self._patience(record):
            why = (
                f"{record.workflow_id} is {record.phase.value} without progress for {_minutes(idle)}; "
                f"its run: {chain.value}"
            )
            return _found(user_cluster, record, Verdict.STUCK, why)
        return _found(user_cluster, record, VERDICTS[chain], record.reason)

    async def _chain(self, record: Record) -> Chain:
        """What stands under the id of this very workflow is its own to go on with.

        Temporal lets only one run of an id be open, and that is this one: it was left by an earlier run, or taken for
        this one by the run that it is a reset of.
        """
        chain = await self._tools.runs.state_of(record)
        mine = record.workflow_id == activity.info().workflow_id
        return Chain.CLOSED if mine and chain in (Chain.SUCCEEDED_BY, Chain.RUNNING) else chain

    def _patience(self, record: Record) -> timedelta:
        limit = timedelta(seconds=self._tools.settings.stuck_after_seconds)
        return max(limit, LONGEST_WAIT) if record.phase in WAITING else limit

    async def _read(self, order: TakeOverOrder) -> tuple[Object, Record]:
        name = self._tools.settings.record
        config_map = await self._tools.cluster.get(CONFIG_MAP, name, order.user_cluster)
        if config_map is None:
            raise LockLost(
                f"the record (ConfigMap {order.user_cluster}/{name}) is gone: its run has ended well"
            )
        return config_map, Record.from_data(config_map["data"])

    async def _must_be_free(self, record: Record, order: TakeOverOrder) -> None:
        """Asked again right before the take-over: a reset, a new run or a person may have come meanwhile."""
        must_not_be_taken(record)
        if record.first_run_id != order.from_first_run:
            raise LockLost(f"the record is now of {record.workflow_id}, run {record.first_run_id}")
        if record.outcome is not None and not order.by_hand:
            raise LockLost(f"the record has an outcome by now: {record.outcome.value}")
        _pins_of(record)
        chain = await self._chain(record)
        if chain is Chain.CLOSED or (chain is Chain.UNKNOWN and order.by_hand):
            return
        raise LockLost(f"{record.workflow_id}, run {record.first_run_id}, is not closed: {chain.value}")

    def _inherited(self, record: Record, order: TakeOverOrder) -> Record:
        """The same record under another holder: what was done and what is to come back stays in it."""
        now, identity, fence = datetime.now(UTC), self._tools.temporal, order.fence
        taken = f"taken over by hand: {order.by_hand}" if order.by_hand else ""
        return record.model_copy(
            update={
                "temporal_cluster_id": identity.cluster_id,
                "temporal_namespace": identity.namespace,
                "workflow_id": fence.workflow_id,
                "first_run_id": fence.first_run_id,
                "run_id": fence.run_id,
                "generation": fence.generation,
                "attempt": "",
                "attempt_number": 1,
                "until": now,
                "updated_at": now,
                "outcome": None,  # it goes on
                "heir_of": [*record.heir_of, record.first_run_id],
                "interrupted_workflow_id": record.interrupted_workflow_id or record.workflow_id,
                "interrupted_run_id": record.interrupted_run_id or record.run_id,
                "reason": "; before that: ".join(words for words in (taken, record.reason) if words),
            }
        )

    async def _taken(self, record: Record) -> TakenOver:
        pins = _pins_of(record)
        return TakenOver(
            pins=pins,
            backup=record.backup or await self._backup_in_the_budget(pins),
            furthest=record.furthest,
            heir_of=record.heir_of,
            note=f"from run {record.heir_of[-1]}, which had reached {record.furthest.value}",
        )

    async def _backup_in_the_budget(self, pins: Pins) -> Backup:
        """A record that was lost and written again has no backup; a temporary budget says what it stands for."""
        return backup_of(await self._tools.cluster.get(PDB, pins.pdb, pins.user_cluster), None)


def _pins_of(record: Record) -> Pins:
    if record.pins is None:
        raise LockLost(f"the record has no pins, it is of an older release: {BY_THE_RECORD}")
    return record.pins


def _found(user_cluster: str, record: Record, verdict: Verdict, reason: str) -> Restored:
    fields = record.model_dump(include={"replica", "first_run_id", "phase", "furthest", "updated_at"})
    return Restored(
        user_cluster=user_cluster,
        verdict=verdict,
        reason=reason,
        workflow_id=record.interrupted_workflow_id or record.workflow_id,
        run_id=record.interrupted_run_id or record.run_id,
        **fields,
    )


def _minutes(idle: timedelta) -> str:
    return f"{idle.total_seconds() / 60:.0f} minutes"
