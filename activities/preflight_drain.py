"""Preflight: the eviction of the failed pod, what a drain would evict beside it, and who else lives on the node.

A dry-run eviction tells the truth under the budgets as they stand, and changes nothing.
"""

import re

from activities.drain import drain_verdicts
from activities.pod_disruption_budget import controller_of
from activities.preflight_checks import Looks
from activities.side_by_side import side_by_side
from replace_etcd.cluster import POD, Eviction
from replace_etcd.errors import Forbidden
from replace_etcd.models.plan import DrainedPod
from replace_etcd.models.request import DrainMode, PdbMode
from replace_etcd.pod_template import is_ready

TWO_BUDGETS = 500  # as the API server answers an eviction that two budgets select the pod for, for ever
REPLICA_ONLY = "use drain: replica, which moves no other pod"


async def look_at_eviction(looks: Looks) -> None:
    """Whether the failed pod may be evicted with its budget in place."""
    pod = looks.pods[looks.replica]
    eviction = await looks.tools.cluster.evict(
        looks.namespace, looks.replica, uid=pod["metadata"]["uid"], dry_run=True
    )
    kept = looks.request.pod_disruption_budget is PdbMode.KEEP
    name = "eviction under the budget"
    maker = controller_of(looks.pdb) if looks.pdb else None
    if eviction.admitted:
        looks.findings.ok(name, "admitted: keep would be possible, and so is delete")
    elif eviction.status == TWO_BUDGETS:
        evidence = f"two budgets select the pod: {eviction.reason}"
        looks.findings.refuse(name, evidence, "delete the one that is too much")
    elif looks.pdb is None:
        way_out = (
            f"there is no {looks.tools.settings.pdb}: name the budget that selects the pod (REPLACE_ETCD_PDB)"
        )
        looks.findings.refuse(name, eviction.reason, way_out)
    elif kept:
        looks.findings.refuse(name, eviction.reason, "use pod_disruption_budget: delete")
    elif maker:
        way_out = f"pause {maker}: it would make the budget again before the eviction"
        looks.findings.refuse(name, eviction.reason, way_out)
    else:
        looks.findings.ok(name, f"only delete is possible: {eviction.reason}")


async def look_at_neighbours(looks: Looks) -> None:
    """The etcd pods of other user clusters on this node: a dead node breaks one member of many."""
    node, name = looks.node["metadata"]["name"], "other user clusters"
    try:
        pods = await looks.tools.cluster.find(POD, fields=f"spec.nodeName={node}")
    except Forbidden:
        looks.findings.warn(name, f"pods on {node} may not be listed, so they cannot be named", REPLICA_ONLY)
        return
    etcd = re.compile(rf"{re.escape(looks.tools.settings.stateful_set)}-\d+")
    theirs = [
        pod["metadata"]
        for pod in pods
        if etcd.fullmatch(pod["metadata"]["name"]) and pod["metadata"]["namespace"] != looks.namespace
    ]
    ailing = await side_by_side(*(_ailing(looks, metadata["namespace"], etcd) for metadata in theirs))
    said = [
        f"{m['namespace']}/{m['name']}" + (f" (not Ready: {', '.join(bad)})" if bad else "")
        for m, bad in zip(theirs, ailing, strict=True)
    ]
    evidence = f"on {node}: {', '.join(said)}" if said else f"no etcd of another user cluster is on {node}"
    if not any(ailing):
        looks.findings.ok(name, evidence)
    elif looks.request.drain is DrainMode.NODE:
        looks.findings.refuse(name, evidence, f"mend it first, or {REPLICA_ONLY}")
    else:
        way_out = (
            "replace one member after the other: while the node is cordoned no other pod can start on it"
        )
        looks.findings.warn(name, evidence, way_out)


async def _ailing(looks: Looks, namespace: str, etcd: re.Pattern[str]) -> list[str]:
    """The etcd pods of another user cluster that are not Ready, wherever they are."""
    pods = await looks.tools.cluster.find(POD, namespace)
    return [
        pod["metadata"]["name"]
        for pod in pods
        if etcd.fullmatch(pod["metadata"]["name"]) and not is_ready(pod)
    ]


async def look_at_drain(looks: Looks) -> None:
    """What the drain would evict, in kubectl's terms; each eviction dry-run before any real one."""
    if looks.request.drain is not DrainMode.NODE or looks.is_removed:
        return
    request, findings = looks.request, looks.findings
    left_over = {looks.stray_utility_uid} if looks.stray_utility_uid else set()  # deleted before the drain
    looks.drained, forbidden = await drain_verdicts(
        looks.tools,
        looks.node["metadata"]["name"],
        delete_emptydir_data=request.delete_emptydir_data,
        force=request.force_drain,
        skip={looks.pods[looks.replica]["metadata"]["uid"], *left_over},
    )
    going = [row for row in looks.drained if row.evict]
    own = [f"{_name(row)} is this worker's own pod" for row in looks.drained if _is_own(looks, row)]
    evictions = await side_by_side(*(_dry_run(looks, row) for row in going))
    never = [
        f"{_name(row)}: {eviction.reason}"
        for row, eviction in zip(going, evictions, strict=True)
        if eviction.status == TWO_BUDGETS
    ]
    if forbidden or own or never:
        findings.refuse("drain", "; ".join([*forbidden, *own, *never]), REPLICA_ONLY)
        return
    blocked = [
        f"{_name(row)}: {eviction.reason}"
        for row, eviction in zip(going, evictions, strict=True)
        if not eviction.admitted
    ]
    stay = [f"{_name(row)} ({row.reason})" for row in looks.drained if not row.evict]
    evidence = f"would evict {', '.join(_name(row) for row in going) or 'nothing'}"
    evidence += f"; would leave {', '.join(stay)}" if stay else ""
    if blocked:
        way_out = f"it is waited for until limits.drain; or {REPLICA_ONLY}"
        findings.warn("drain", f"{evidence}; blocked now: {'; '.join(blocked)}", way_out)
    else:
        findings.ok("drain", f"{evidence}; recommended: drain: replica, which would move none of them")


async def _dry_run(looks: Looks, row: DrainedPod) -> Eviction:
    return await looks.tools.cluster.evict(row.namespace, row.name, uid=row.uid, dry_run=True)


def _is_own(looks: Looks, row: DrainedPod) -> bool:
    return row.evict and row.name == looks.tools.settings.own_pod


def _name(row: DrainedPod) -> str:
    return f"{row.namespace}/{row.name}"
