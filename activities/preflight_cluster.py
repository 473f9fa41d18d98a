"""Preflight, first part: the admin cluster, the user cluster and its objects."""

from datetime import UTC, datetime, timedelta

from activities.fleet_stop import stop_reason
from activities.pod_disruption_budget import controller_of
from activities.preflight_checks import Looks, look_at_each
from activities.preflight_resume import is_half_done, look_at_record, only_the_flag_differs
from activities.preflight_rights import look_at_rights
from activities.stateful_set import pods_of
from replace_etcd.cluster import FIELD_MANAGER, PDB, SECRET, STATEFUL_SET, USER_CLUSTER, Object
from replace_etcd.errors import Forbidden
from replace_etcd.field_owners import APPLY, owners
from replace_etcd.models.phase import PAST_THE_REMOVAL
from replace_etcd.pod_template import NotFound, etcd_container, find_flag
from replace_etcd.user_cluster import unclear, work_under_way

SOON = timedelta(minutes=1)


async def look_at_admin_cluster(looks: Looks) -> None:
    """It answers, this worker may, and the user cluster is one for this procedure."""
    version = await looks.tools.cluster.version()
    looks.findings.ok("admin cluster", f"Kubernetes {version} answers")
    await look_at_each(looks, look_at_rights, _kubeception, look_at_record, _fleet_stop)


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
        looks.container = etcd_container(template, settings.container)
        looks.flag = find_flag(template, looks.container)
    except NotFound as error:
        way_out = (
            "name the container (REPLACE_ETCD_CONTAINER), or write --initial-cluster-state=new into its args, with"
            " updateStrategy OnDelete in the same patch, so that no pod is restarted for it"
        )
        findings.refuse("flag --initial-cluster-state", str(error), way_out, fatal=True)
        return
    findings.ok(
        "flag --initial-cluster-state", f"{looks.flag.original!r} at {looks.flag.pointer} ({looks.container})"
    )
    _other_managers(looks)
    looks.pdb = await looks.tools.cluster.get(PDB, settings.pdb, looks.namespace)
    if looks.pdb is None:
        findings.warn(
            "PodDisruptionBudget", f"there is no {settings.pdb}; a temporary one stands while it lasts"
        )
    elif maker := controller_of(looks.pdb):
        evidence = f"{settings.pdb}: {_limit(looks.pdb)}; {maker} makes it, and may put it back in the middle"
        findings.warn(
            "PodDisruptionBudget", evidence, "pod_disruption_budget: keep takes nothing away from it"
        )
    else:
        findings.ok("PodDisruptionBudget", f"{settings.pdb}: {_limit(looks.pdb)}")


def _other_managers(looks: Looks) -> None:
    """A manager that applies flag or strategy puts them back in the middle; an update by hand is done with."""
    found = owners(looks.stateful_set, [looks.flag.pointer, "/spec/updateStrategy"])
    others = [owner for owner in found if owner.manager != FIELD_MANAGER]
    applying = [f"{o.manager} applies {', '.join(o.fields)}" for o in others if o.operation == APPLY]
    made = datetime.fromisoformat(looks.stateful_set["metadata"]["creationTimestamp"])
    recent = [
        f"{owner.manager} at {owner.time:%H:%M:%S}"
        for owner in others
        if owner.time and owner.time > made and datetime.now(UTC) - owner.time < SOON
    ]
    name = f"-n {looks.namespace} statefulset {looks.tools.settings.stateful_set}"
    if applying:
        way_out = (
            "pause it, then drop its claim: kubectl patch "
            f'{name} --type=json -p \'[{{"op":"replace","path":"/metadata/managedFields","value":[{{}}]}}]\''
        )
        looks.findings.refuse("no other manager", "; ".join(applying), way_out)
    elif recent:
        way_out = "if that is a controller, pause it: it may revert the edit, and the run rolls back"
        looks.findings.warn("no other manager", f"just edited by {', '.join(recent)}", way_out)
    else:
        looks.findings.ok("no other manager", "nobody applies flag or updateStrategy")


async def find_certificates(looks: Looks) -> None:
    """The Secret that the failed pod mounts, or the only one with the vendor's prefix."""
    prefix = looks.tools.settings.certificates_secret_prefix
    volumes = looks.pods[looks.replica]["spec"].get("volumes") or []
    mounted = [v["secret"]["secretName"] for v in volumes if "secret" in v]
    names = [name for name in mounted if name.startswith(prefix)]
    if not names:
        try:
            secrets = await looks.tools.cluster.find(SECRET, looks.namespace)
        except Forbidden:
            evidence = f"{looks.replica} mounts no Secret that starts with {prefix}, and none may be listed"
            way_out = "set REPLACE_ETCD_CERTIFICATES_SECRET_PREFIX, or grant list of secrets in the namespace"
            looks.findings.refuse("certificates Secret", evidence, way_out)
            return
        names = [s["metadata"]["name"] for s in secrets if s["metadata"]["name"].startswith(prefix)]
    if len(set(names)) != 1:
        evidence = f"{len(set(names))} Secrets start with {prefix}: {', '.join(names) or 'none'}"
        looks.findings.refuse("certificates Secret", evidence, "set REPLACE_ETCD_CERTIFICATES_SECRET_PREFIX")
        return
    looks.certificates_secret = names[0]
    looks.findings.ok("certificates Secret", names[0])


async def _fleet_stop(looks: Looks) -> None:
    """No replacement starts; one that is past the removal is finished all the same: it tolerates no failure there."""
    name, place = "fleet-wide stop", looks.tools.settings.stop_config_map
    stopped = await stop_reason(looks.tools)
    if stopped is None:
        looks.findings.ok(name, f"there is no ConfigMap {place}")
    elif looks.record is not None and looks.record.furthest in PAST_THE_REMOVAL:
        looks.findings.warn(name, f"{stopped}; finished all the same, since the member is removed already")
    else:
        looks.findings.refuse(name, stopped, f"whoever made it lifts it by deleting ConfigMap {place}")


async def _kubeception(looks: Looks) -> None:
    namespace = looks.namespace + looks.tools.settings.management_namespace_suffix
    owner = await looks.tools.cluster.get(USER_CLUSTER, looks.namespace, namespace)
    if owner is None:
        looks.findings.warn("user cluster", f"no onpremuserclusters {namespace}/{looks.namespace} to ask")
        return
    v2 = owner["spec"].get("enableControlplaneV2") is True
    evidence = "Controlplane V2 is enabled" if v2 else "kubeception, Controlplane V2 is not enabled"
    looks.findings.judge("user cluster", not v2, evidence, "this procedure is for kubeception clusters only")
    _at_rest(looks, owner)


def _at_rest(looks: Looks, owner: Object) -> None:
    """Its controllers rewrite the StatefulSet during an upgrade: nothing of ours would stand."""
    if signs := work_under_way(owner):
        looks.findings.refuse("no upgrade", "; ".join(signs), "wait until it has ended, then start again")
    elif doubts := unclear(owner):
        way_out = "see that no upgrade or update of the user cluster is under way"
        looks.findings.warn("no upgrade", "; ".join(doubts), way_out)
    else:
        looks.findings.ok("no upgrade", "neither an upgrade nor a change of the user cluster is under way")


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
