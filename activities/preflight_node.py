"""Preflight, third part: the failed pod's volume and node, its eviction, and what a drain would do."""

from activities.node import cordon_holders
from activities.preflight_checks import Looks, look_at_each, will_pass
from activities.preflight_cluster import find_certificates
from activities.preflight_drain import look_at_drain, look_at_eviction, look_at_neighbours
from activities.preflight_place import look_at_readiness, look_elsewhere
from activities.preflight_resume import is_half_done
from replace_etcd.cluster import CLAIM, NODE, POD, VOLUME
from replace_etcd.errors import Conflict, ReplacementError
from replace_etcd.models.plan import Pins
from replace_etcd.pod_template import NotFound, data_path, uses_claim
from replace_etcd.utility_pod import utility_pod


async def look_at_node(looks: Looks) -> None:
    """Volume, node, eviction, drain."""
    await look_at_each(looks, _volume, find_certificates, _node)
    if looks.node:
        await look_at_each(looks, look_at_readiness)
    if looks.node and not looks.joins_only:
        await look_at_each(
            looks, _utility_pod, look_elsewhere, look_at_eviction, look_at_neighbours, look_at_drain
        )


async def _volume(looks: Looks) -> None:
    pod, container = looks.pods[looks.replica], looks.container
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
        if gone := claim["metadata"].get("deletionTimestamp"):
            evidence = f"the claim {name} is being deleted since {gone}"
            looks.findings.refuse("volume", evidence, "its data goes with the pod: save it first")
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
    cordoned = bool(node["spec"].get("unschedulable")) and not cordon_holders(node)
    if cordoned and is_half_done(looks) and not looks.pods[looks.replica]["spec"].get("nodeName"):
        evidence = f"{name} is cordoned; taken for step 4 of the runbook, and ended with the replacement"
        looks.findings.warn("no cordon", evidence)
        looks.cordon_is_ours, cordoned = True, False
    way_out = f"the new member could not start there: kubectl uncordon {name}, then start again"
    looks.findings.judge(
        "no cordon", not cordoned, f"{name} is {'' if cordoned else 'not '}cordoned", way_out
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


async def look_at_admission(looks: Looks, pins: Pins) -> None:
    """Whether the utility Pod would be admitted: quotas, policies and webhooks say so in a dry run."""
    manifest = utility_pod(pins, looks.tools.settings, "dry-run", 0)
    name = "admission of the utility Pod"
    try:
        await looks.tools.cluster.create(POD, manifest, looks.namespace, dry_run=True)
    except Conflict:
        looks.findings.ok(name, "one of that name is there")  # left over: it is deleted first
    except ReplacementError as error:
        if will_pass(looks, error):
            raise
        way_out = "let the policy or quota admit it (the runbook's own utility Pod is no different)"
        looks.findings.refuse(name, f"refused in a dry run: {error}", way_out)
    else:
        looks.findings.ok(name, "admitted in a dry run")


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
