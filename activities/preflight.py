"""Before anything changes: every check made and reported together, and every identity pinned. Read-only.

A refusal is data (name, evidence, way out). All of them are collected before any is shown, so that a person
mends them in one go (docs/contract.md, Order, 1).
"""

from datetime import UTC, datetime

from temporalio import activity

from activities.preflight_checks import Findings, Looks, will_pass
from activities.preflight_cluster import look_at_admin_cluster, look_at_objects, look_at_rollout
from activities.preflight_etcd import look_at_etcd
from activities.preflight_node import look_at_admission, look_at_node
from activities.preflight_resume import begun_at
from activities.stateful_set import ON_DELETE
from activities.step import Toolbox, step, tell
from replace_etcd.errors import ReplacementError
from replace_etcd.etcd import joins_as_learner
from replace_etcd.models.orders import Preflighted
from replace_etcd.models.plan import Check, Pins, Plan, Verdict
from replace_etcd.models.request import DrainMode, PdbMode, ReplacementRequest
from replace_etcd.pod_template import template_digest
from replace_etcd.scheduling import HOSTNAME

TRIES = (
    8  # with the pauses between them about three quarters of a minute: an API server has restarted by then
)


class PreflightActivities:
    """The step that only looks."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def preflight(self, request: ReplacementRequest) -> Preflighted:
        """Look at everything; the plan has pins only where nothing refuses."""
        findings = Findings()
        info = activity.info()
        looks = Looks(
            self._tools,
            request,
            findings,
            workflow_id=info.workflow_id or "",
            run_id=info.workflow_run_id or "",
            patient=info.attempt < TRIES,
        )
        for look in (look_at_admin_cluster, look_at_objects, look_at_etcd, look_at_rollout, look_at_node):
            tell(look.__name__.replace("_", " "))
            try:
                await look(looks)
            except ReplacementError as error:
                if will_pass(looks, error):
                    raise
                findings.refuse(
                    look.__name__.replace("_", " "),
                    f"could not be asked: {error}",
                    "mend it, start again",
                    fatal=look in (look_at_objects, look_at_etcd),  # the later ones look at what these find
                )
            if not findings.may_go_on:
                break
        pins = None if findings.refused else _pins(looks)
        if pins is not None and not looks.joins_only:
            await look_at_admission(looks, pins)
            pins = None if findings.refused else pins
        plan = Plan(
            checks=findings.checks,
            actions=_actions(request, pins) if pins else [],
            drained=looks.drained,
            pins=pins,
            members=looks.members,
            resume=looks.resume,
            made_at=datetime.now(UTC),
        )
        return Preflighted(plan=plan, note=_summary(findings.checks))


def _pins(looks: Looks) -> Pins:
    request, settings = looks.request, looks.tools.settings
    member, node = looks.failed_member, looks.node
    version = looks.statuses[looks.survivors[0].pod].version
    begun = looks.record.pins if looks.record and looks.record.pins else None
    strategy = looks.stateful_set["spec"]["updateStrategy"]
    return Pins(
        user_cluster=request.user_cluster,
        replica=looks.replica,
        ordinal=int(looks.replica.rpartition("-")[2]),
        voters=looks.stateful_set["spec"]["replicas"],
        member_id=begun.member_id if begun and looks.is_removed else member.id,
        member_name=member.name or looks.replica,
        peer_urls=member.peer_urls,
        client_urls=member.client_urls,
        etcd_version=version,
        join_as_learner=joins_as_learner(version, request.join_as.value),
        survivors=looks.survivors,
        stateful_set_uid=looks.stateful_set["metadata"]["uid"],
        container=looks.container,
        flag=begun_at(looks),
        update_strategy=begun.update_strategy if begun and strategy == ON_DELETE else strategy,
        template_digest=template_digest(looks.stateful_set, looks.flag),
        pod_uid=looks.pods[looks.replica]["metadata"]["uid"],
        claim=looks.claim["metadata"]["name"],
        claim_uid=looks.claim["metadata"]["uid"],
        claim_is_exclusive="ReadWriteOncePod" in looks.claim["spec"]["accessModes"],
        certificates_secret=looks.certificates_secret,
        data_path=looks.data_path,
        node=node["metadata"]["name"],
        node_uid=node["metadata"]["uid"],
        node_hostname=(node["metadata"].get("labels") or {}).get(HOSTNAME, ""),
        tolerations=looks.pods[looks.replica]["spec"].get("tolerations") or [],
        pull_secrets=looks.pods[looks.replica]["spec"].get("imagePullSecrets") or [],
        node_ready=looks.node_ready,
        volume_can_move=looks.volume_can_move,
        pdb=settings.pdb,
        pdb_uid=looks.pdb["metadata"]["uid"] if looks.pdb else None,
        pdb_mode=request.pod_disruption_budget.value,
        drain_mode=request.drain.value,
        node_lease=looks.node_lease,
        cordon_is_ours=looks.cordon_is_ours,
        stray_utility_uid=looks.stray_utility_uid,
        is_removed=looks.is_removed,
    )


def _actions(request: ReplacementRequest, pins: Pins) -> list[str]:
    """What would be done to which object, in the order of the steps."""
    namespace = pins.user_cluster
    kept = request.pod_disruption_budget is PdbMode.KEEP
    whole = request.drain is DrainMode.NODE
    strategy = pins.update_strategy.get("type", "")
    actions = [
        f"back up PodDisruptionBudget {namespace}/{pins.pdb}",
        f"StatefulSet {namespace}: {pins.flag.original} -> {pins.flag.existing}, updateStrategy OnDelete, one patch",
        f"cordon node {pins.node}",
        f"create the utility Pod on {pins.node}, with {pins.claim}",
        f"see {pins.replica} fail still, then delete PodDisruptionBudget {pins.pdb}" if not kept else "",
        f"evict pod {pins.replica} ({pins.pod_uid})",
        "a PodDisruptionBudget with maxUnavailable: 0 until the new member is verified",
        f"drain the rest of {pins.node}" if whole else "",
        f"remove member {pins.member_id} ({pins.member_name}): from here on there is no way back",
        f"empty {pins.claim} (etcd's directory in it: {pins.data_path}), then delete the utility Pod",
        f"add {pins.member_name} as a {'learner, promoted when in sync' if pins.join_as_learner else 'voter'}",
        f"uncordon {pins.node}",
        f"{pins.flag.original} back, restart {pins.replica}, updateStrategy {strategy} back",
        f"PodDisruptionBudget {namespace}/{pins.pdb} back, verify",
    ]
    return [action for action in actions if action]


def _summary(checks: list[Check]) -> str:
    counts = {verdict: sum(check.verdict is verdict for check in checks) for verdict in Verdict}
    return ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
