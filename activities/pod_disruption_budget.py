"""Steps 1, 2 and 11 of the runbook: the PodDisruptionBudget, backed up, taken away, and brought back.

Where the runbook leaves the survivors without a budget from its second step to its last, here a stricter one
(`maxUnavailable: 0`) stands from the moment the eviction is accepted until everything is verified: a learner
that is Ready counts as healthy, and the original would then admit the eviction of a survivor.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from activities.fencing import Attempt, fenced
from activities.guarded_patch import guarded_patch
from activities.stateful_set import read_stateful_set
from activities.step import Toolbox, step
from replace_etcd.cluster import PDB, Kind, Object, Patch
from replace_etcd.errors import Conflict, Forbidden, Moved, NotYet
from replace_etcd.models.orders import BackedUp, Done, Left, Order, PdbOrder
from replace_etcd.models.plan import Backup

# What a server sets, and refuses or ignores in a POST (a backup that kept resourceVersion cannot be created).
SERVER_FIELDS = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink")
TRIES = 8
TEMPORARY = "replace-etcd/temporary-budget-of"
INSTEAD_OF = "replace-etcd/instead-of"  # the spec that it had: to be put back even where the record is lost
MARKS = (TEMPORARY, INSTEAD_OF)


class PodDisruptionBudgetActivities:
    """Steps that act on the budget of the etcd pods."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def back_up_pod_disruption_budget(self, order: Order) -> BackedUp:
        """Read the budget, without the fields that a server sets, and keep it in the record too.

        Where an earlier run has taken it away, whose record this one took over, or of which it is a reset, its
        backup counts.
        """
        async with fenced(self._tools, order) as attempt:
            budget = await self._read(order)
            _, record = await attempt.read()
            uid = budget["metadata"]["uid"] if budget else None
            if uid != order.pins.pdb_uid and not _was_taken_away(budget, record.backup):
                raise Moved(f"the budget {order.pins.pdb} is another one than in the plan: uid {uid}")
            backup = backup_of(budget, record.backup)
            await attempt.write_down(backup=backup)
        return BackedUp(
            backup=backup, note=f"{backup.manifest['spec']}" if backup.manifest else "there is none"
        )

    @step
    async def delete_pod_disruption_budget(self, order: PdbOrder) -> Done:
        """Delete the budget that was backed up, by uid and version; one that is gone already is done."""
        async with fenced(self._tools, order) as attempt:
            deleted = await self._delete(attempt, order, lambda budget: _must_be_unchanged(budget, order))
        return Done(note="" if deleted else "there is none")

    @step
    async def protect_survivors(self, order: PdbOrder) -> Done:
        """Let a budget stand that admits no eviction at all; done where one of ours stands already."""
        async with fenced(self._tools, order) as attempt:
            if await self._read(order) is None:
                manifest = await self._strict(order)
                await attempt.hold()
                await self._tools.cluster.create(PDB, manifest, order.pins.user_cluster)
            budget = await self._patch(attempt, order, lambda found: _stricter(found, order))
        if not _is_temporary(budget):
            return Done(note="left as it is: somebody else's budget stands there")
        return Done(note="maxUnavailable: 0 until the new member is verified")

    @step
    async def restore_pod_disruption_budget(self, order: PdbOrder) -> Left:
        """Bring the budget back with the spec of the backup; what is neither ours nor the backup's is left.

        Without a backup in the order the record's counts. Where there was none, that is said: a person may have
        deleted it by step 2 of the runbook.
        """
        async with fenced(self._tools, order) as attempt:
            if attempt.namespace_is_gone:
                return Left(note="moot: the namespace is gone")
            wanted = order.backup.manifest or await self._recorded(order, attempt)
            if wanted is None:
                deleted = await self._delete(attempt, order, _is_temporary)
                note = "there was none before: the temporary one is deleted" if deleted else "there was none"
                gone = await self._read(order) is None
                return Left(note=note, left=[_apply_the_backup(order.pins.pdb)] if gone else [])
            wanted = await self.with_living_owners(wanted)
            if await self._read(order) is None:
                await attempt.hold()
                await self._tools.cluster.create(PDB, wanted, order.pins.user_cluster)
            budget = await self._patch(attempt, order, lambda found: _as_before(found, wanted))
        if budget["spec"] == wanted["spec"]:
            return Left(note=f"{wanted['spec']}")
        left = f"PodDisruptionBudget {order.pins.pdb} was changed by somebody else and left as it is"
        return Left(note=f"{budget['spec']}", left=[left])

    async def _delete(self, attempt: Attempt, order: Order, may: Callable[[Object], bool]) -> bool:
        """Delete the budget in the version that was read, if it may be; its controller moves the version too."""
        for _ in range(TRIES):
            budget = await self._read(order)
            if budget is None or not may(budget):
                return False
            metadata = budget["metadata"]
            await attempt.hold()
            with suppress(Conflict):
                await self._tools.cluster.delete(
                    PDB,
                    metadata["name"],
                    metadata["namespace"],
                    uid=metadata["uid"],
                    version=metadata["resourceVersion"],
                )
                return True
        raise NotYet(f"the budget {order.pins.pdb} changes all the time")

    async def _patch(self, attempt: Attempt, order: Order, change: Callable[[Object], Patch]) -> Object:
        """Patch the budget; one that went meanwhile is made again by the next attempt."""

        def decide(found: Object | None) -> Patch:
            return [] if found is None else change(found)

        name, namespace = order.pins.pdb, order.pins.user_cluster
        patched = await guarded_patch(self._tools, attempt, PDB, name, namespace, change=decide)
        if patched is None:
            raise NotYet(f"the budget {name} went while it was written")
        return patched

    async def with_living_owners(self, manifest: Object) -> Object:
        """Owner references that point nowhere would have the garbage collector delete the budget at once.

        One that cannot be confirmed (this worker may not read its kind) is left out too: a budget without an
        owner protects, a missing one does not.
        """
        metadata: dict[str, Any] = dict(manifest["metadata"])
        owners = metadata.pop("ownerReferences", None) or []
        living = [owner for owner in owners if await self._lives(owner, metadata["namespace"])]
        return manifest | {"metadata": metadata | ({"ownerReferences": living} if living else {})}

    async def _lives(self, owner: Object, namespace: str) -> bool:
        kind = Kind(owner["apiVersion"], owner["kind"].lower() + "s", owner["kind"])
        try:
            found = await self._tools.cluster.get(kind, owner["name"], namespace)
        except Forbidden:
            return False
        return found is not None and bool(found["metadata"]["uid"] == owner["uid"])

    async def _strict(self, order: PdbOrder) -> Object:
        """The budget of the backup, or a new one for the pods of the StatefulSet; it admits no eviction."""
        if order.backup.manifest is not None:
            base = await self.with_living_owners(order.backup.manifest)
            selector = base["spec"]["selector"]
        else:
            base = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
            base["metadata"] = {"name": order.pins.pdb, "namespace": order.pins.user_cluster}
            selector = (await read_stateful_set(self._tools, order.pins))["spec"]["selector"]
        annotations = {**(base["metadata"].get("annotations") or {}), **_marks(order)}
        metadata = base["metadata"] | {"annotations": annotations}
        return base | {"metadata": metadata, "spec": _strict_spec(selector)}

    async def _recorded(self, order: Order, attempt: Attempt) -> Object | None:
        """What an earlier run has written down, in the record or on its temporary budget, if the order has nothing."""
        _, record = await attempt.read()
        return backup_of(await self._read(order), record.backup).manifest

    async def _read(self, order: Order) -> Object | None:
        return await self._tools.cluster.get(PDB, order.pins.pdb, order.pins.user_cluster)


def controller_of(budget: Object) -> str | None:
    """Who makes the budget, and would make it again."""
    owners = budget["metadata"].get("ownerReferences") or []
    return next((f"{o['kind']} {o['name']}" for o in owners if o.get("controller")), None)


def cleaned(budget: Object) -> Object:
    """A backup that can be created again: `apiVersion`, `kind`, names, labels, annotations, owners and spec."""
    metadata = {key: value for key, value in budget["metadata"].items() if key not in SERVER_FIELDS}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": budget["spec"],
    }


def backup_of(budget: Object | None, recorded: Backup | None) -> Backup:
    """What is to come back: the budget that stands, unless it is a temporary one, or gone, of an earlier run."""
    if budget is not None and not _is_temporary(budget):
        return Backup(manifest=cleaned(budget))
    if recorded is not None:
        return recorded
    spec = (budget["metadata"]["annotations"] if budget else {}).get(INSTEAD_OF)
    if budget is None or spec is None:
        return Backup()
    manifest = cleaned(budget) | {"spec": json.loads(spec)}
    annotations = {k: v for k, v in budget["metadata"]["annotations"].items() if k not in MARKS}
    return Backup(manifest=manifest | {"metadata": manifest["metadata"] | {"annotations": annotations}})


def _was_taken_away(budget: Object | None, recorded: Backup | None) -> bool:
    """Whether a replacement, which wrote down what it was, has deleted it or put a stricter one in its place."""
    is_ours = budget is None or _is_temporary(budget)
    return is_ours and recorded is not None and recorded.manifest is not None


def _marks(order: PdbOrder) -> dict[str, str]:
    """The annotations of a temporary budget."""
    backup = order.backup.manifest
    return {TEMPORARY: order.fence.workflow_id} | ({INSTEAD_OF: json.dumps(backup["spec"])} if backup else {})


def _must_be_unchanged(budget: Object, order: PdbOrder) -> bool:
    backup = order.backup.manifest
    if _is_temporary(budget):  # of an earlier run, whose eviction it would block
        return True
    if backup is None or budget["spec"] != backup["spec"] or budget["metadata"]["uid"] != order.pins.pdb_uid:
        raise Moved(f"the budget {order.pins.pdb} has changed since it was backed up")
    return True


def _stricter(budget: Object, order: PdbOrder) -> Patch:
    """The patch that lets no eviction through; none for a budget that is ours already, or somebody else's."""
    backup = order.backup.manifest
    if _is_temporary(budget) or backup is None or budget["spec"] != backup["spec"]:
        return []
    annotations = {**(budget["metadata"].get("annotations") or {}), **_marks(order)}
    return [
        _put("/metadata/annotations", annotations),
        _put("/spec", _strict_spec(budget["spec"]["selector"])),
    ]


def _as_before(budget: Object, wanted: Object) -> Patch:
    """The patch from ours to the backup; none where it is so already, or where the budget is somebody else's.

    A controller of its own may have put the spec back and left our marks.
    """
    ours = (_strict_spec(wanted["spec"]["selector"]), wanted["spec"])
    if not _is_temporary(budget) or budget["spec"] not in ours:
        return []
    annotations = wanted["metadata"].get("annotations") or {}
    return [_put("/metadata/annotations", annotations), _put("/spec", wanted["spec"])]


def _apply_the_backup(name: str) -> str:
    why = "where step 2 of the runbook deleted it, apply its backup"
    return f"there is no PodDisruptionBudget {name}, as before: {why}"


def _strict_spec(selector: Object) -> Object:
    """A budget that admits no eviction at all."""
    return {"selector": selector, "maxUnavailable": 0}


def _is_temporary(budget: Object) -> bool:
    return TEMPORARY in (budget["metadata"].get("annotations") or {})


def _put(path: str, value: object) -> dict[str, object]:
    return {"op": "add", "path": path, "value": value}
