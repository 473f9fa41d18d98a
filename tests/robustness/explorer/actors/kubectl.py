"""Somebody else's kubectl in the middle. It goes straight to the API server, as a person's does."""

from __future__ import annotations

from lab.fixture.names import DISRUPTION_BUDGET, NAMESPACE, STATEFUL_SET, node_of
from lab.kube_client import ApiError, Json
from replace_etcd.models.phase import PAST_THE_REMOVAL
from replace_etcd.pod_template import read_pointer
from tests.robustness.explorer.actors import Actor
from tests.robustness.explorer.schedule import Fault
from tests.robustness.explorer.stage import RECORD, Stage
from tests.robustness.explorer.story import DELETED_BEFORE_THE_BACKUP

DELETED = "deleted"
MARK = {"metadata": {"annotations": {"explorer/was-here": "yes"}}}


async def annotate(stage: Stage, fault: Fault) -> str:
    """A harmless change: only the resourceVersion moves, under somebody's hands."""
    resource, name, namespace = {
        "statefulset": ("statefulsets", STATEFUL_SET, NAMESPACE),
        "node": ("nodes", node_of(stage.replica), ""),
        "pdb": ("poddisruptionbudgets", DISRUPTION_BUDGET, NAMESPACE),
        "pod": ("pods", stage.replica, NAMESPACE),
    }[fault.params["what"]]
    try:
        await stage.kube.patch(resource, name, MARK, namespace)
    except ApiError as error:
        return _unless_gone(error)
    return "annotated"


async def delete_pod(stage: Stage, fault: Fault) -> str:
    """The failed replica's pod, as people do who hope that it helps."""
    return await _delete(stage, "pods", stage.replica)


async def delete_utility_pod(stage: Stage, fault: Fault) -> str:
    """Somebody tidies up."""
    return await _delete(stage, "pods", f"etcd-utility-{stage.replica.rpartition('-')[2]}")


async def delete_budget(stage: Stage, fault: Fault) -> str:
    """Somebody drains by hand, in the runbook's way."""
    record = await stage.record()
    result = await _delete(stage, "poddisruptionbudgets", DISRUPTION_BUDGET)
    unknown = record is None or record.backup is None
    return DELETED_BEFORE_THE_BACKUP if unknown and result == DELETED else result


async def delete_record(stage: Stage, fault: Fault) -> str:
    """Somebody deletes what looks like a leftover."""
    return await _delete(stage, "configmaps", RECORD)


async def uncordon(stage: Stage, fault: Fault) -> str:
    """Somebody wonders why the node is cordoned."""
    await stage.kube.patch("nodes", node_of(stage.replica), {"spec": {"unschedulable": None}})
    return "uncordoned"


async def revert_edit(stage: Stage, fault: Fault) -> str:
    """Flag and strategy, in one patch as they were, by somebody who keeps them in a repository."""
    record = await stage.record()
    if record is None or record.pins is None or record.furthest in PAST_THE_REMOVAL:
        return "too late"
    found = await stage.kube.get("statefulsets", STATEFUL_SET, NAMESPACE)
    flag = record.pins.flag
    if read_pointer(found, flag.pointer) != flag.existing:
        return "nothing to revert"
    change: list[Json] = [
        {"op": "replace", "path": flag.pointer, "value": flag.original},
        {"op": "replace", "path": "/spec/updateStrategy", "value": record.pins.update_strategy},
    ]
    await stage.kube.patch("statefulsets", STATEFUL_SET, change, NAMESPACE)
    return "reverted"


async def _delete(stage: Stage, resource: str, name: str) -> str:
    try:
        await stage.kube.delete(resource, name, NAMESPACE)
    except ApiError as error:
        return _unless_gone(error)
    return DELETED


def _unless_gone(error: ApiError) -> str:
    if error.code != 404:
        raise error
    return "not there"


ACTORS: dict[str, Actor] = {
    "kubectl-annotate": annotate,
    "kubectl-delete-pod": delete_pod,
    "kubectl-delete-utility-pod": delete_utility_pod,
    "kubectl-delete-pdb": delete_budget,
    "kubectl-delete-record": delete_record,
    "kubectl-uncordon": uncordon,
    "kubectl-revert-edit": revert_edit,
}
