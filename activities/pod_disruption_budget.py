"""Steps 1, 2 and 11 of the runbook: the PodDisruptionBudget, backed up, taken away, and brought back.

Where the runbook leaves the survivors without a budget from its second step to its last, here a stricter one
(`maxUnavailable: 0`) stands from the moment the eviction is accepted until everything is verified: a learner
that is Ready counts as healthy, and the original would then admit the eviction of a survivor.
"""

from typing import Any

from activities.fencing import Attempt, fenced
from activities.step import Toolbox, step
from replace_etcd.cluster import PDB, STATEFUL_SET, Kind, Object
from replace_etcd.errors import Conflict, Moved
from replace_etcd.models.orders import BackedUp, Backup, Done, Left, Order, PdbOrder

# What a server sets, and refuses or ignores in a POST (a backup that kept resourceVersion cannot be created).
SERVER_FIELDS = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink")
TEMPORARY = "replace-etcd/temporary-budget-of"


class PodDisruptionBudgetActivities:
    """Steps that act on the budget of the etcd pods."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def back_up_pod_disruption_budget(self, order: Order) -> BackedUp:
        """Read the budget, without the fields that a server sets; read-only, so idempotent by nature."""
        budget = await self._read(order)
        uid = budget["metadata"]["uid"] if budget else None
        if uid != order.pins.pdb_uid:
            raise Moved(f"the budget {order.pins.pdb} is another one than in the plan: uid {uid}")
        if budget is None:
            return BackedUp(backup=Backup(), note="there is none")
        return BackedUp(backup=Backup(manifest=cleaned(budget)), note=f"{budget['spec']}")

    @step
    async def delete_pod_disruption_budget(self, order: PdbOrder) -> Done:
        """Delete the budget that was backed up, by uid and version; one that is gone already is done."""
        async with fenced(self._tools, order) as attempt:
            budget = await self._read(order)
            if budget is None:
                return Done(note="there is none")
            if order.backup.manifest is None or budget["spec"] != order.backup.manifest["spec"]:
                raise Moved(f"the budget {order.pins.pdb} has changed since it was backed up")
            metadata = budget["metadata"]
            await attempt.hold()
            await self._tools.cluster.delete(
                PDB,
                order.pins.pdb,
                order.pins.user_cluster,
                uid=order.pins.pdb_uid or metadata["uid"],
                version=metadata["resourceVersion"],
            )
        return Done()

    @step
    async def protect_survivors(self, order: PdbOrder) -> Done:
        """Let a budget stand that admits no eviction at all; done where one of ours stands already."""
        async with fenced(self._tools, order) as attempt:
            budget = await self._read(order)
            if budget is None:
                manifest = await self._strict(order)
                await attempt.hold()
                await self._tools.cluster.create(PDB, manifest, order.pins.user_cluster)
                return Done(note="maxUnavailable: 0 until the new member is verified")
            if _is_temporary(budget):
                return Done(note="stands already")
            if order.backup.manifest is None or budget["spec"] != order.backup.manifest["spec"]:
                return Done(note="left as it is: somebody else's budget stands there")
            strict = {"selector": budget["spec"]["selector"], "maxUnavailable": 0}
            marked = {**(budget["metadata"].get("annotations") or {}), TEMPORARY: order.fence.workflow_id}
            await self._write(attempt, order, budget, strict, marked)
        return Done(note="maxUnavailable: 0 until the new member is verified")

    @step
    async def restore_pod_disruption_budget(self, order: PdbOrder) -> Left:
        """Bring the budget back with the spec of the backup; what is neither ours nor the backup's is left."""
        async with fenced(self._tools, order) as attempt:
            budget = await self._read(order)
            wanted = order.backup.manifest
            if budget is None:
                return await self._create_again(attempt, order)
            if wanted is None and _is_temporary(budget):
                await attempt.hold()
                metadata = budget["metadata"]
                await self._tools.cluster.delete(
                    PDB, metadata["name"], metadata["namespace"], uid=metadata["uid"]
                )
                return Left(note="there was none before: the temporary one is deleted")
            if wanted is not None and (_is_temporary(budget) or budget["spec"] == wanted["spec"]):
                annotations = wanted["metadata"].get("annotations")
                await self._write(attempt, order, budget, wanted["spec"], annotations)
                return Left(note=f"{wanted['spec']}")
            if wanted is None:
                return Left(note="there was none before, and the one that stands there is not ours")
        left = f"PodDisruptionBudget {order.pins.pdb} was changed by somebody else and left as it is"
        return Left(note=f"{budget['spec']}", left=[left])

    async def _create_again(self, attempt: Attempt, order: PdbOrder) -> Left:
        wanted = order.backup.manifest
        if wanted is None:
            return Left(note="there was none before")
        await attempt.hold()
        await self._tools.cluster.create(PDB, await self._with_living_owners(wanted), order.pins.user_cluster)
        return Left(note=f"{wanted['spec']}")

    async def _write(
        self, attempt: Attempt, order: Order, budget: Object, spec: Object, annotations: dict[str, str] | None
    ) -> None:
        if budget["spec"] == spec and (budget["metadata"].get("annotations") or {}) == (annotations or {}):
            return
        metadata = {k: v for k, v in budget["metadata"].items() if k != "annotations"}
        if annotations:
            metadata["annotations"] = annotations
        await attempt.hold()
        try:
            await self._tools.cluster.replace(PDB, budget | {"metadata": metadata, "spec": spec})
        except Conflict as error:
            raise Conflict(
                409, "Conflict", f"the budget {order.pins.pdb} has just changed; looking again"
            ) from error

    async def _with_living_owners(self, manifest: Object) -> Object:
        """Owner references that point nowhere would have the garbage collector delete the budget at once."""
        metadata: dict[str, Any] = dict(manifest["metadata"])
        owners = []
        for owner in metadata.pop("ownerReferences", None) or []:
            group_version = owner["apiVersion"]
            kind = Kind(group_version, owner["kind"].lower() + "s", owner["kind"])
            found = await self._tools.cluster.get(kind, owner["name"], metadata["namespace"])
            if found is not None and found["metadata"]["uid"] == owner["uid"]:
                owners.append(owner)
        return manifest | {"metadata": metadata | ({"ownerReferences": owners} if owners else {})}

    async def _strict(self, order: PdbOrder) -> Object:
        backup = order.backup.manifest
        if backup is not None:
            selector = backup["spec"]["selector"]
        else:
            stateful_set = await self._tools.cluster.get(
                STATEFUL_SET, self._tools.settings.stateful_set, order.pins.user_cluster
            )
            if stateful_set is None:
                raise Moved("the StatefulSet is gone")
            selector = stateful_set["spec"]["selector"]
        metadata = {
            "name": order.pins.pdb,
            "namespace": order.pins.user_cluster,
            "annotations": {TEMPORARY: order.fence.workflow_id},
        }
        return {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"selector": selector, "maxUnavailable": 0},
        }

    async def _read(self, order: Order) -> Object | None:
        return await self._tools.cluster.get(PDB, order.pins.pdb, order.pins.user_cluster)


def cleaned(budget: Object) -> Object:
    """A backup that can be created again: `apiVersion`, `kind`, names, labels, annotations, owners and spec."""
    metadata = {key: value for key, value in budget["metadata"].items() if key not in SERVER_FIELDS}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": budget["spec"],
    }


def _is_temporary(budget: Object) -> bool:
    return TEMPORARY in (budget["metadata"].get("annotations") or {})
