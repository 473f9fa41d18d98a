"""Preflight, third part: the failed pod's volume and node, its eviction, and what a drain would do."""

from activities.drain import drain_verdicts
from activities.node import cordon_holders
from activities.preflight_checks import Looks
from activities.preflight_cluster import find_certificates
from activities.preflight_resume import is_half_done
from replace_etcd.cluster import CLAIM, NODE, POD, VOLUME
from replace_etcd.models.request import DrainMode, PdbMode
from replace_etcd.pod_template import NotFound, data_path, uses_claim


async def look_at_node(looks: Looks) -> None:
    """Volume, node, eviction, drain."""
    await _volume(looks)
    await find_certificates(looks)
    await _node(looks)
    if not looks.node or looks.joins_only:
        return
    await _utility_pod(looks)
    await _eviction(looks)
    if looks.request.drain is DrainMode.NODE and not looks.is_removed:
        await _drain(looks)


async def _volume(looks: Looks) -> None:
    pod, container = looks.pods[looks.replica], looks.tools.settings.container
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or []
        if "persistentVolumeClaim" in volume
    ]
    for name in claims:
        try:
            looks.data_path = data_path(pod, container, name)
        except NotFound as error:
            reason = str(error)
            continue
        claim = await looks.tools.cluster.get(CLAIM, name, looks.namespace)
        if claim is None:
            looks.findings.refuse("volume", f"the claim {name} is gone", "restore the claim first")
            return
        looks.claim = claim
        looks.findings.ok("volume", f"claim {name}, data directory {looks.data_path!r} in it")
        await _alone(looks, name)
        return
    reason = reason if claims else "the pod mounts no claim"
    looks.findings.refuse(
        "volume", reason, "the data directory has to be on a PersistentVolumeClaim", fatal=True
    )


async def _alone(looks: Looks, claim: str) -> None:
    pods = await looks.tools.cluster.find(POD, looks.namespace)
    others = [
        pod["metadata"]["name"]
        for pod in pods
        if uses_claim(pod, claim) and pod["metadata"]["name"] not in (looks.replica, _utility_name(looks))
    ]
    evidence = f"{', '.join(others)} mount {claim}" if others else f"only {looks.replica} mounts {claim}"
    looks.findings.judge("no other pod on the volume", not others, evidence, "delete those pods first")


async def _node(looks: Looks) -> None:
    name = looks.pods[looks.replica]["spec"].get("nodeName") or await _node_of_the_volume(looks)
    wished = looks.request.node
    if name is None:
        evidence = f"pod {looks.replica} is not on any node"
        looks.findings.refuse(
            "node", evidence, "make it schedulable first (kubectl describe pod says why)", fatal=True
        )
        return
    if wished is not None and wished != name:
        way_out = f"leave node out, or name {name}"
        looks.findings.refuse("node", f"{looks.replica} is on {name}, not on {wished}", way_out)
    node = await looks.tools.cluster.get(NODE, name)
    if node is None:
        looks.findings.refuse(
            "node", f"node {name} is gone", "let the pod move to another node first", fatal=True
        )
        return
    looks.node = node
    conditions = {c["type"]: c["status"] for c in node.get("status", {}).get("conditions") or []}
    cordoned = bool(node["spec"].get("unschedulable")) and not cordon_holders(node)
    if cordoned and is_half_done(looks) and not looks.pods[looks.replica]["spec"].get("nodeName"):
        evidence = f"{name} is cordoned; taken for step 4 of the runbook, and ended with the replacement"
        looks.findings.warn("no cordon", evidence)
        looks.cordon_is_ours, cordoned = True, False
    way_out = f"the new member could not start there: kubectl uncordon {name}, then start again"
    looks.findings.judge(
        "no cordon", not cordoned, f"{name} is {'' if cordoned else 'not '}cordoned", way_out
    )
    ready = conditions.get("Ready") == "True"
    evidence = f"{name} is {'Ready' if ready else 'not Ready'}"
    looks.findings.judge(
        "node", ready, evidence, "the utility Pod cannot start there: bring the node back first"
    )


async def _node_of_the_volume(looks: Looks) -> str | None:
    """Where an evicted pod of an unfinished replacement was: as the record says, or where its volume is bound to."""
    if not is_half_done(looks):
        return None
    if looks.record is not None:
        return looks.record.node
    volume = await looks.tools.cluster.get(VOLUME, looks.claim["spec"].get("volumeName", ""))
    affinity = ((volume or {}).get("spec") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("required") or {}).get("nodeSelectorTerms") or []
    hosts = {
        host
        for term in terms
        for expression in term.get("matchExpressions") or []
        if expression["key"] == "kubernetes.io/hostname"
        for host in expression["values"]
    }
    nodes = (
        await looks.tools.cluster.find(NODE, labels=f"kubernetes.io/hostname={hosts.pop()}") if hosts else []
    )
    return str(nodes[0]["metadata"]["name"]) if len(nodes) == 1 and not hosts else None


def _utility_name(looks: Looks) -> str:
    return f"{looks.tools.settings.utility_name_prefix}-{looks.replica.rpartition('-')[2]}"


async def _utility_pod(looks: Looks) -> None:
    name = _utility_name(looks)
    pod = await looks.tools.cluster.get(POD, name, looks.namespace)
    if pod is not None and is_half_done(looks) and uses_claim(pod, looks.claim["metadata"]["name"]):
        looks.stray_utility_uid = pod["metadata"]["uid"]
        looks.findings.warn("utility Pod", f"pod {name} is left over; it is deleted and made anew")
        return
    evidence = f"pod {name} is there already" if pod else f"no pod {name}"
    looks.findings.judge("utility Pod", pod is None, evidence, f"delete pod {name} first")


async def _eviction(looks: Looks) -> None:
    """A dry-run eviction tells the truth under the budget as it stands, and changes nothing."""
    pod = looks.pods[looks.replica]
    eviction = await looks.tools.cluster.evict(
        looks.namespace, looks.replica, uid=pod["metadata"]["uid"], dry_run=True
    )
    kept = looks.request.pod_disruption_budget is PdbMode.KEEP
    if eviction.admitted:
        looks.findings.ok("eviction under the budget", "admitted: keep would be possible, and so is delete")
    elif kept:
        way_out = "use pod_disruption_budget: delete"
        looks.findings.refuse("eviction under the budget", eviction.reason, way_out)
    elif eviction.status == 500:
        evidence = f"two budgets select the pod: {eviction.reason}"
        looks.findings.refuse("eviction under the budget", evidence, "delete the one that is too much")
    else:
        looks.findings.ok("eviction under the budget", f"only delete is possible: {eviction.reason}")


async def _drain(looks: Looks) -> None:
    """What the drain would evict, each eviction dry-run before any real one."""
    request, findings = looks.request, looks.findings
    left_over = {looks.stray_utility_uid} if looks.stray_utility_uid else set()  # deleted before the drain
    looks.drained, forbidden = await drain_verdicts(
        looks.tools,
        looks.node["metadata"]["name"],
        delete_emptydir_data=request.delete_emptydir_data,
        force=request.force_drain,
        skip={looks.pods[looks.replica]["metadata"]["uid"], *left_over},
    )
    if forbidden:
        findings.refuse("drain", "; ".join(forbidden), "use drain: replica, which moves no other pod")
        return
    blocked = []
    for row in looks.drained:
        if row.evict:
            eviction = await looks.tools.cluster.evict(row.namespace, row.name, uid=row.uid, dry_run=True)
            blocked += [] if eviction.admitted else [f"{row.namespace}/{row.name}: {eviction.reason}"]
    going = [f"{row.namespace}/{row.name}" for row in looks.drained if row.evict]
    if blocked:
        way_out = "it is waited for until limits.drain; drain: replica moves no other pod"
        findings.warn("drain", f"blocked now: {'; '.join(blocked)}", way_out)
    else:
        findings.ok(
            "drain", f"would evict {', '.join(going) or 'nothing'}; drain: replica would move none of them"
        )
