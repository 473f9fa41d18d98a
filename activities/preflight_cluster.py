"""Preflight, first part: the admin cluster, the rights of the worker, the user cluster and its objects."""

import asyncio

from activities.preflight_checks import Looks
from activities.preflight_resume import is_half_done, look_at_record, only_the_flag_differs
from activities.stateful_set import pods_of
from replace_etcd.cluster import PDB, SECRET, STATEFUL_SET, USER_CLUSTER
from replace_etcd.errors import Forbidden
from replace_etcd.models.request import DrainMode
from replace_etcd.pod_template import NotFound, container_index, find_flag

CONSISTENT = ("Ready", "True")
# verb, group, resource, subresource (docs/contract.md; each is used by a step).
IN_NAMESPACE = [
    *(("get", "", "pods", ""), ("list", "", "pods", ""), ("watch", "", "pods", "")),
    *(("create", "", "pods", ""), ("delete", "", "pods", "")),
    *(("create", "", "pods", "eviction"), ("get", "", "pods", "exec"), ("create", "", "pods", "exec")),
    *((verb, "policy", "poddisruptionbudgets", "") for verb in ("get", "create", "patch", "delete")),
    *((verb, "apps", "statefulsets", "") for verb in ("get", "list", "watch", "patch")),
    *((verb, "", "configmaps", "") for verb in ("get", "create", "update", "delete")),
    *(("get", "", "persistentvolumeclaims", ""), ("list", "", "secrets", "")),
]
CLUSTER_WIDE = [("get", "", "nodes", ""), ("patch", "", "nodes", "")]
FOR_THE_DRAIN = [
    ("list", "", "pods", ""),
    ("create", "", "pods", "eviction"),
    ("get", "", "pods", ""),
    ("watch", "", "pods", ""),
]


async def look_at_admin_cluster(looks: Looks) -> None:
    """It answers, this worker may, and the user cluster is one for this procedure."""
    version = await looks.tools.cluster.version()
    looks.findings.ok("admin cluster", f"Kubernetes {version} answers")
    await _rights(looks)
    await _kubeception(looks)
    await look_at_record(looks)


async def look_at_objects(looks: Looks) -> None:
    """StatefulSet, container, flag, rollout, budget."""
    settings, findings = looks.tools.settings, looks.findings
    name = settings.stateful_set
    stateful_set = await looks.tools.cluster.get(STATEFUL_SET, name, looks.namespace)
    if stateful_set is None:
        way_out = "check user_cluster; it is the namespace of the user cluster in the admin cluster"
        findings.refuse(
            "StatefulSet", f"there is no StatefulSet {looks.namespace}/{name}", way_out, fatal=True
        )
        return
    looks.stateful_set = stateful_set
    looks.pods = {pod["metadata"]["name"]: pod for pod in await pods_of(looks.tools, stateful_set)}
    findings.ok("StatefulSet", f"{looks.namespace}/{name}, {stateful_set['spec']['replicas']} replicas")
    template = stateful_set["spec"]["template"]["spec"]
    try:
        container_index(template, settings.container)
        looks.flag = find_flag(template, settings.container)
    except NotFound as error:
        way_out = "write the flag into the template as --initial-cluster-state=new, or name the container"
        findings.refuse("flag --initial-cluster-state", str(error), way_out, fatal=True)
        return
    findings.ok("flag --initial-cluster-state", f"{looks.flag.original!r} at {looks.flag.pointer}")
    looks.pdb = await looks.tools.cluster.get(PDB, settings.pdb, looks.namespace)
    if looks.pdb is None:
        findings.warn(
            "PodDisruptionBudget", f"there is no {settings.pdb}; a temporary one stands while it lasts"
        )
    else:
        findings.ok("PodDisruptionBudget", f"{settings.pdb}: {_limit(looks.pdb)}")


async def find_certificates(looks: Looks) -> None:
    """The Secret that the failed pod mounts, or the only one with the vendor's prefix."""
    prefix = looks.tools.settings.certificates_secret_prefix
    volumes = looks.pods[looks.replica]["spec"].get("volumes") or []
    mounted = [v["secret"]["secretName"] for v in volumes if "secret" in v]
    names = [name for name in mounted if name.startswith(prefix)]
    if not names:
        secrets = await looks.tools.cluster.find(SECRET, looks.namespace)
        names = [s["metadata"]["name"] for s in secrets if s["metadata"]["name"].startswith(prefix)]
    if len(set(names)) != 1:
        evidence = f"{len(set(names))} Secrets start with {prefix}: {', '.join(names) or 'none'}"
        looks.findings.refuse("certificates Secret", evidence, "set REPLACE_ETCD_CERTIFICATES_SECRET_PREFIX")
        return
    looks.certificates_secret = names[0]
    looks.findings.ok("certificates Secret", names[0])


async def _rights(looks: Looks) -> None:
    wanted = [(*right, looks.namespace) for right in IN_NAMESPACE] + [
        (*right, None) for right in CLUSTER_WIDE
    ]
    if looks.request.drain is DrainMode.NODE:
        wanted += [(*right, None) for right in FOR_THE_DRAIN]
    asked = (
        looks.tools.cluster.permitted(verb, group, resource, namespace, subresource)
        for verb, group, resource, subresource, namespace in wanted
    )
    answers = await asyncio.gather(*asked)
    missing = [
        f"{verb} {resource}{'/' + sub if sub else ''} ({'namespace ' + namespace if namespace else 'cluster-wide'})"
        for (verb, _, resource, sub, namespace), allowed in zip(wanted, answers, strict=True)
        if not allowed
    ]
    evidence = f"missing: {', '.join(missing)}" if missing else f"all {len(wanted)} are held"
    looks.findings.judge("permissions", not missing, evidence, "grant the worker's identity these verbs")


async def _kubeception(looks: Looks) -> None:
    namespace = looks.namespace + looks.tools.settings.management_namespace_suffix
    try:
        owner = await looks.tools.cluster.get(USER_CLUSTER, looks.namespace, namespace)
    except Forbidden as error:
        looks.findings.warn(
            "user cluster", f"onpremuserclusters may not be read: {error.message}", "grant get"
        )
        return
    if owner is None:
        looks.findings.warn("user cluster", f"no onpremuserclusters {namespace}/{looks.namespace} to ask")
        return
    v2 = owner["spec"].get("enableControlplaneV2") is True
    evidence = "Controlplane V2 is enabled" if v2 else "kubeception, Controlplane V2 is not enabled"
    looks.findings.judge("user cluster", not v2, evidence, "this procedure is for kubeception clusters only")
    conditions = {c["type"]: c["status"] for c in owner.get("status", {}).get("conditions") or []}
    busy = [kind for kind, status in conditions.items() if kind.endswith("ing") and status == "True"]
    looks.findings.judge(
        "no upgrade", not busy, ", ".join(busy) or "none under way", "wait until it has ended"
    )


async def look_at_rollout(looks: Looks) -> None:
    """No rollout may be under way, but for one that only the failed pod itself holds up."""
    revision = looks.stateful_set["status"].get("updateRevision")
    behind = [
        name
        for name, pod in looks.pods.items()
        if pod["metadata"]["labels"].get("controller-revision-hash") != revision
    ]
    evidence = (
        f"pods of another revision: {', '.join(behind)}"
        if behind
        else "every pod is of the template's revision"
    )
    half_done = is_half_done(looks) and all(only_the_flag_differs(looks, looks.pods[name]) for name in behind)
    if behind and half_done:
        findings = f"{evidence}, but only by the flag of an unfinished replacement"
        looks.findings.warn("no rollout", findings)
    elif behind == [looks.replica]:
        looks.findings.warn("no rollout", f"{evidence}; it comes back with the template's revision")
    else:
        looks.findings.judge("no rollout", not behind, evidence, "let the rollout end, or undo it, first")


def _limit(pdb: dict[str, dict[str, object]]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in pdb["spec"].items() if key != "selector")
