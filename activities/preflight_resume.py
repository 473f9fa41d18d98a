"""Preflight, for what is half done: a replacement that was interrupted, or a runbook that a person has left.

A half-done replacement is not refused: where it goes on is decided by the state that is there, and by the record
for what no state can tell (how flag, strategy and budget were before). What to begin with:

- `protecting`: the failed member is still listed; nothing that was begun is in the way;
- `cleaning`: it is removed, and no member has its name or a peer URL of it;
- `adding`: its successor is listed, and is not a voter that has started;
- `restoring`: its successor is a started voter.
"""

from activities.preflight_checks import Looks
from replace_etcd.cluster import CONFIG_MAP, Object
from replace_etcd.models.phase import BEFORE_THE_REMOVAL, PAST_THE_REMOVAL, Phase
from replace_etcd.models.plan import FlagPlace, Member, Pins, Resume
from replace_etcd.models.record import Record
from replace_etcd.pod_template import container_index, expand, flag_text_in, option
from replace_etcd.runs import Chain

CLEANED = (Phase.ADDING, Phase.REJOINING, Phase.RESTORING, Phase.VERIFYING)
BY_ITSELF = "wait for {0}, or stop it: temporal workflow cancel --workflow-id {0}"
GIVE_BACK = (
    "wait, or give it back: kubectl -n {0} patch configmap {1} --type=merge "
    """-p '{{"data":{{"taken-over-by-hand":null}}}}'"""
)
BY_HAND = (
    "do what its key what-to-do-by-hand.txt says, or, if that Temporal is gone for good, start with `take_over` "
    "and the reason"
)


async def look_at_record(looks: Looks) -> None:
    """Whose record stands, and whether this run may take it over."""
    name = looks.tools.settings.record
    config_map = await looks.tools.cluster.get(CONFIG_MAP, name, looks.namespace)
    findings = looks.findings
    if config_map is None:
        findings.ok("no other replacement", "no record of one")
        return
    record = Record.from_data(config_map["data"])
    says = f"{record.workflow_id}: {record.phase.value}, {record.outcome.value if record.outcome else 'under way'}"
    chain = await _chain(looks, record)
    if record.taken_by_hand:
        says = f"{record.taken_by_hand} goes on with {record.workflow_id} by hand"
        findings.refuse("no other replacement", says, GIVE_BACK.format(looks.namespace, name))
    elif _is_its_own(looks, record):
        findings.ok("no other replacement", "the record is this run's own")
    elif chain is Chain.CLOSED:
        looks.record = record
        findings.warn("no other replacement", f"{says}; its run has ended, and is taken over")
    elif looks.request.dry_run:
        findings.warn("no other replacement", says, "a plan changes nothing; a replacement would be refused")
    elif chain is Chain.UNKNOWN and looks.request.take_over:
        looks.record = record
        findings.warn("no other replacement", f"{says}; taken over: {looks.request.take_over}")
    elif chain is Chain.UNKNOWN:
        findings.refuse("no other replacement", f"{says}; its Temporal cannot be asked", BY_HAND)
    else:
        findings.refuse("no other replacement", says, BY_ITSELF.format(record.workflow_id))


def _is_its_own(looks: Looks, record: Record) -> bool:
    """Whether this very run has begun all of it: what another has edited is not how it was before."""
    begun_here = looks.run_id == record.run_id == record.first_run_id and not record.heir_of
    return begun_here and record.furthest in BEFORE_THE_REMOVAL


async def _chain(looks: Looks, record: Record) -> Chain:
    """How the run stands that has the record.

    Temporal lets one run of a workflow id be open at a time: a record under our own id is ours, or of a run that
    has ended. One that was closed with an outcome says itself that it has ended.
    """
    ours = looks.tools.temporal
    here = (record.temporal_cluster_id, record.temporal_namespace) == (ours.cluster_id, ours.namespace)
    if record.outcome is not None or (here and record.workflow_id == looks.workflow_id):
        return Chain.CLOSED
    return await looks.tools.runs.state_of(record)


def begun_at(looks: Looks) -> FlagPlace:
    """The flag as it was before somebody began: from the record, or from the survivors' own pods."""
    flag, pins = looks.flag, _pins(looks)
    if pins is not None and flag.original in (pins.flag.original, pins.flag.existing):
        return pins.flag
    said = {flag_text_in(pod, looks.container) for name, pod in looks.pods.items() if name in looks.statuses}
    if flag.original == flag.existing and len(said) == 1 and flag.existing not in said:
        return flag.model_copy(update={"original": said.pop()})
    return flag


def is_half_done(looks: Looks) -> bool:
    """Whether somebody has begun: a record stands, or the template says `existing` and the survivors do not."""
    return looks.record is not None or begun_at(looks).original != looks.flag.original


def only_the_flag_differs(looks: Looks, pod: Object) -> bool:
    """Whether a pod is as the template but for the flag: then a rollout is none of somebody else's."""
    template, spec = looks.stateful_set["spec"]["template"]["spec"], pod["spec"]
    mine = spec["containers"][container_index(spec, looks.container)]
    theirs = template["containers"][container_index(template, looks.container)]
    return all(
        _without_state(mine.get(field)) == _without_state(theirs.get(field))
        for field in ("image", "command", "args", "env")
    )


def _without_state(value: object) -> str:
    return str(value).replace("existing", "new")


def resume_from_removed(looks: Looks, silent: list[str]) -> bool:
    """One member fewer than pods, and one pod without an answer: its member is removed."""
    replicas = looks.stateful_set["spec"]["replicas"]
    answered = {status.member_id for status in looks.statuses.values()}
    others = {member.id for member in looks.members}
    if len(silent) != 1 or len(looks.members) != replicas - 1 or others != answered:
        return False
    looks.replica = silent[0]
    looks.failed_member = _removed_member(looks)
    _resume(looks, Phase.CLEANING, f"the member of {silent[0]} is removed and not added back")
    return True


def resume_with_silent_member(looks: Looks, failed: Member) -> None:
    """The one member that does not answer: the failed one itself, or its successor that has not joined yet."""
    record = looks.record
    known = record.new_member_id if record else None  # unknown where its `member add` had no answer
    added = record is not None and record.furthest in CLEANED and failed.id != record.member_id
    if added and known in (None, failed.id):
        if failed.started and not failed.learner:
            _resume(
                looks,
                Phase.RESTORING,
                f"the new member {failed.id} was a voter; its pod has not answered yet",
            )
        else:
            _resume(looks, Phase.ADDING, f"the new member {failed.id} is added and has not joined yet")
    elif not failed.started:
        _resume(
            looks, Phase.PROTECTING, f"member {failed.id} was added and never started: it is replaced anew"
        )
    elif is_half_done(looks):
        _resume(looks, Phase.PROTECTING, f"member {failed.id} is not removed yet")


def resume_with_all_answering(looks: Looks) -> bool:
    """Every pod answers: the new member is a learner still, or a voter whose flag and budget are not back."""
    learners = [member for member in looks.members if member.learner]
    pods = {status.member_id: pod for pod, status in looks.statuses.items()}
    record = looks.record
    if len(learners) == 1 and learners[0].id in pods:
        looks.failed_member, looks.replica = learners[0], pods[learners[0].id]
        _resume(looks, Phase.ADDING, f"the new member {learners[0].id} is a learner")
        return True
    if learners or record is None or record.furthest not in PAST_THE_REMOVAL:
        return False
    status = looks.statuses.get(record.replica)
    member = next((m for m in looks.members if status and m.id == status.member_id), None)
    if member is None or member.id == record.member_id:
        return False
    looks.failed_member, looks.replica = member, record.replica
    _resume(looks, Phase.RESTORING, f"the new member {member.id} is a voter")
    return True


def _resume(looks: Looks, step: Phase, why: str) -> None:
    record = looks.record
    looks.resume = Resume(
        step=step,
        why=why,
        backup=record.backup if record else None,
        new_member_id=looks.failed_member.id if step in (Phase.ADDING, Phase.RESTORING) else None,
        heir_of=[record.first_run_id, *record.heir_of] if record else [],
    )
    looks.findings.warn("resume", f"resume from {step.value}: {why}")


def _removed_member(looks: Looks) -> Member:
    """The removed member as the record knows it, or as its pod would call itself."""
    pins = _pins(looks)
    if pins is not None and pins.replica == looks.replica:
        return Member(
            id=pins.member_id, name=pins.member_name, peer_urls=pins.peer_urls, client_urls=pins.client_urls
        )
    spec = looks.stateful_set["spec"]["template"]["spec"]
    container = spec["containers"][container_index(spec, looks.container)]

    def said(name: str) -> str:
        return expand(option(container, name) or "", container, looks.replica, looks.namespace)

    return Member(
        id="",
        name=said("name") or looks.replica,
        peer_urls=said("initial-advertise-peer-urls").split(","),
        client_urls=said("advertise-client-urls").split(","),
    )


def _pins(looks: Looks) -> Pins | None:
    return looks.record.pins if looks.record else None
