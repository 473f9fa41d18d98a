"""Preflight, second part: exactly one member failed, it is the one named, and the others can bear its removal."""

import asyncio

from activities.keyspace import equal_hashes
from activities.preflight_certificates import look_at_certificates
from activities.preflight_checks import Looks
from activities.preflight_resume import (
    resume_from_removed,
    resume_with_all_answering,
    resume_with_silent_member,
)
from activities.preflight_starts import look_at_starts
from activities.side_by_side import side_by_side
from activities.snapshot_on_worker import worker_side
from activities.step import tell
from activities.survivors import Survivors, output_of
from replace_etcd.errors import CommandFailed, NotStarted, NotYet, ReplacementError
from replace_etcd.etcd import (
    CLOSE_RAFT_INDEXES,
    Alarm,
    MemberStatus,
    hexadecimal,
    is_address,
    joins_as_learner,
    known_to_corrupt,
    outlived_by,
    parse_alarms,
    parse_status,
    raft_distance,
    reachable_urls,
)
from replace_etcd.models.plan import Member, Survivor
from replace_etcd.quorum import quorum, tolerance_while_replacing

ELECTION_SECONDS = 15.0  # an election takes one to two election time-outs, 1 s each by default
DEFRAGMENTATION_SECONDS = 45.0
ASK_AGAIN_SECONDS = 0.3
ANSWER_SECONDS = 5
HELD = "held"
NOT_THIS_PROCEDURE = "more than one failed member is a recovery from data loss, not a replacement"


async def look_at_etcd(looks: Looks) -> None:
    """Ask every pod for its own status, and those that answer for the member list."""
    await look_at_certificates(looks)
    survivors = Survivors(looks.tools)
    looks.statuses, held = await _once_they_can_answer(looks, survivors)
    evidence = (
        f"{', '.join(held)} lists the members and gives no status: its database is held" if held else "none"
    )
    way_out = (
        "wait until it has ended (the maintenance pod starts them, one member at a time), or its disk answers"
    )
    if held:
        looks.findings.refuse("defragmentation", evidence, way_out, fatal=True)
        return
    looks.findings.ok("defragmentation", "every member that lists the members gives its status, too")
    if len(looks.statuses) < quorum(len(looks.pods)):
        silent = ", ".join(sorted(set(looks.pods) - set(looks.statuses)))
        evidence = (
            f"{len(looks.statuses)} of {len(looks.pods)} members answer, not {silent}: the quorum is lost"
        )
        looks.findings.refuse("exactly one failed member", evidence, NOT_THIS_PROCEDURE, fatal=True)
        return
    voting = [
        pod for pod, status in looks.statuses.items() if not status.learner
    ]  # a learner refuses to list
    try:
        lists = await side_by_side(*(survivors.members_by(looks, pod) for pod in voting))
    except CommandFailed:
        if not await _may_administer(looks, survivors, voting[0]):  # then 3.6, and a late 3.5, list nothing
            looks.findings.may_go_on = False
            return
        raise
    looks.members = sorted(lists[0], key=lambda member: member.id)
    agreed = all(sorted(members, key=lambda member: member.id) == looks.members for members in lists)
    looks.findings.judge("member list", agreed, _listing(looks.members), "wait until the survivors agree")
    if not _one_failed(looks):
        return
    if not looks.is_removed:
        look_at_starts(looks)
    parts = [_survivors_bear_it(looks, survivors)]
    if not looks.is_removed:  # a dead endpoint costs the whole time of its probe: the rest is asked meanwhile
        parts.append(_unanswered(looks, survivors))
    for failure in await asyncio.gather(*parts, return_exceptions=True):
        if isinstance(failure, BaseException):
            raise failure


async def _once_they_can_answer(
    looks: Looks, survivors: Survivors
) -> tuple[dict[str, MemberStatus], list[str]]:
    """The status of every pod that answers, and the pods that a defragmentation still holds.

    Asked again until a quorum with its leader answers, where the last one has just died or answers were lost, and until
    no database is held.
    """
    now = asyncio.get_running_loop().time
    begun = now()
    while True:
        answers = dict(
            zip(
                looks.pods,
                await side_by_side(*(_ask(survivors, looks, pod) for pod in looks.pods)),
                strict=True,
            )
        )
        statuses = {pod: answer for pod, answer in answers.items() if isinstance(answer, MemberStatus)}
        held = [pod for pod, answer in answers.items() if answer is HELD]
        patience = DEFRAGMENTATION_SECONDS if held else ELECTION_SECONDS
        whole = len(statuses) >= quorum(len(looks.pods)) and _led(list(statuses.values()))
        if (whole and not held) or now() - begun > patience:
            return statuses, held
        if held:
            tell(f"waiting for {', '.join(held)}: a defragmentation holds its database")
        await asyncio.sleep(ASK_AGAIN_SECONDS)


def _led(statuses: list[MemberStatus]) -> bool:
    """Whether those that answer agree on a leader among themselves."""
    leaders = {status.leader_id for status in statuses}
    return len(leaders) == 1 and leaders <= {status.member_id for status in statuses}


async def _ask(survivors: Survivors, looks: Looks, pod: str) -> MemberStatus | str | None:
    """One pod's own member: its status, or `HELD`, or None.

    A defragmentation locks the database: `endpoint status`, `get`, `hashkv` and `alarm list` wait until it has
    ended, `member list` does not (seen on 3.5.1 and 3.6.16). Asked twice, since one lost connection is no failed
    member.
    """
    status = await _answer(survivors, looks, pod, ["endpoint", "status", "-w", "json"])
    if status is not None:
        return parse_status(status)
    lists = await _answer(survivors, looks, pod, ["member", "list", "-w", "json"])
    return None if lists is None else HELD


async def _answer(survivors: Survivors, looks: Looks, pod: str, arguments: list[str]) -> str | None:
    for _ in range(2):
        try:
            answer = await survivors.run(looks, pod, arguments, seconds=ANSWER_SECONDS)
        except NotStarted:
            return None
        except ReplacementError:
            continue
        return answer.stdout if answer.exit_code == 0 else None
    return None


def _one_failed(looks: Looks) -> bool:
    """Find the one failed member as the one that no pod answers for, or its successor that has not joined yet."""
    answered = {status.member_id for status in looks.statuses.values()}
    failed = [member for member in looks.members if member.id not in answered]
    silent = [pod for pod in looks.pods if pod not in looks.statuses]
    evidence = f"failed: {_listing(failed) or 'none'}; pods without an answer: {', '.join(silent) or 'none'}"
    if len(failed) > 1 or len(silent) > 1:
        looks.findings.refuse("exactly one failed member", evidence, NOT_THIS_PROCEDURE, fatal=True)
        return False
    if len(failed) == 1 and len(silent) == 1:
        looks.failed_member, looks.replica = failed[0], silent[0]
        resume_with_silent_member(looks, failed[0])
    elif failed or not (resume_from_removed(looks, silent) or resume_with_all_answering(looks)):
        way_out = _nothing_to_replace(looks)
        looks.findings.refuse("exactly one failed member", evidence, way_out, fatal=True)
        return False
    named = looks.request.failed_replica
    if named is not None and named != looks.replica:
        way_out = f"the failed replica is {looks.replica}; name that one, or none"
        looks.findings.refuse("the named replica", f"{named} answers and is healthy", way_out, fatal=True)
        return False
    looks.findings.ok("exactly one failed member", evidence)
    urls = {member.id: reachable_urls(member) for member in looks.members}
    looks.survivors = [
        Survivor(
            pod=pod,
            pod_uid=looks.pods[pod]["metadata"]["uid"],
            member_id=status.member_id,
            client_urls=urls.get(status.member_id, []),
        )
        for pod, status in looks.statuses.items()
        if pod != looks.replica
    ]
    _same_name(looks)
    return True


def _nothing_to_replace(looks: Looks) -> str:
    record = looks.record
    if record is not None:
        on_a_word = f"replace-etcd take-over {looks.user_cluster} --reason 'it has recovered'"
        if record.run_id == looks.run_id:
            return f"it has recovered; to put everything back: `resolve` with `abandon`, then {on_a_word}"
        if record.outcome is not None:
            return f"it has recovered; what the earlier run has left goes back with: {on_a_word}"
        return "it has recovered; RestoreInterruptedReplacement puts back what the earlier run has left"
    if len(looks.members) == looks.stateful_set["spec"]["replicas"]:
        return "nothing is to be replaced"
    return "add the missing member first"


def _same_name(looks: Looks) -> None:
    """The member and the pod belong together by name, or by the host of a peer URL."""
    member, replica = looks.failed_member, looks.replica
    hosts = [url.split("//")[-1].split(":")[0].split(".")[0] for url in member.peer_urls]
    evidence = f"member {member.id} is {member.name or 'not named'} at {', '.join(member.peer_urls)}"
    if moving := [url for url in member.peer_urls if is_address(url)]:
        way_out = (
            "its next pod has another address: give the members peer URLs by name (etcdctl member update)"
        )
        refusal = f"{evidence}: {', '.join(moving)} is an address, and pods do not keep theirs"
        if not looks.pods[replica]["spec"].get("hostNetwork"):
            looks.findings.refuse("member and pod", refusal, way_out)
            return
    if replica in (member.name, *hosts):
        looks.findings.ok("member and pod", evidence)
    else:
        looks.findings.warn("member and pod", f"{evidence}; paired with {replica} because all others answer")


async def _unanswered(looks: Looks, survivors: Survivors) -> None:
    answers = []
    for url in looks.failed_member.client_urls:
        try:
            status = await survivors.status(looks, looks.survivors[0].pod, endpoint=url, seconds=2)
        except CommandFailed:
            continue
        if status.member_id == looks.failed_member.id:
            answers.append(url)
    evidence = f"{', '.join(answers)} answers" if answers else "its endpoint does not answer"
    looks.findings.judge(
        "the failed member is silent", not answers, evidence, "it has recovered: nothing to replace"
    )


async def _survivors_bear_it(looks: Looks, survivors: Survivors) -> None:
    findings, statuses = looks.findings, [looks.statuses[survivor.pod] for survivor in looks.survivors]
    ours = looks.failed_member.id
    learners = [member.id for member in looks.members if member.learner and member.id != ours]
    findings.judge(
        "no learner", not learners, f"learners: {learners or 'none'}", "promote or remove the learner first"
    )
    leaders = ", ".join(sorted({status.leader_id for status in statuses}))
    findings.judge(
        "leader",
        _led(list(looks.statuses.values())),
        f"leader: {leaders}",
        "wait for an election, then start again",
    )
    clusters = {status.cluster_id for status in statuses}
    findings.judge(
        "one cluster", len(clusters) == 1, f"cluster ids: {clusters}", "the members are of two clusters"
    )
    _quorum(looks)
    distance = raft_distance(statuses)
    evidence = f"raft indexes are {distance} apart"
    findings.judge(
        "raft indexes", distance <= CLOSE_RAFT_INDEXES, evidence, "wait until the slow survivor has caught up"
    )
    await _alarms(looks, survivors)
    _versions(looks)
    if await _may_administer(looks, survivors, looks.survivors[0].pod):
        await _hashes(looks, survivors)
    _snapshot(looks)


def _snapshot(looks: Looks) -> None:
    """Whether the worker has a place for it; the utility Pod's own room is asked when there is one."""
    settings, findings = looks.tools.settings, looks.findings
    size = max(status.db_size for status in looks.statuses.values())
    if settings.snapshot_dir is None:
        evidence = "none will be taken: this worker has no REPLACE_ETCD_SNAPSHOT_DIR"
        way_out = "set it, with room for the database, or take a snapshot by hand"
        report = findings.refuse if looks.request.require_snapshot else findings.warn
        report("snapshot", evidence, way_out)
        return
    against = worker_side(settings, size)
    evidence = against or f"{size / 2**20:.1f} MiB fit into {settings.snapshot_dir}"
    findings.judge("snapshot", not against, evidence, "what it says after the colon, then start again")


async def _hashes(looks: Looks, survivors: Survivors) -> None:
    way_out = "a corrupt survivor would become the truth: restore from a snapshot"
    pods = [survivor.pod for survivor in looks.survivors]
    try:
        wrong = await equal_hashes(survivors, looks, pods)
    except (NotYet, CommandFailed) as error:
        wrong, way_out = [str(error)], "wait until the survivors answer at ease, then start again"
    looks.findings.judge("hashkv", not wrong, "; ".join(wrong) or "equal on the survivors", way_out)


def _quorum(looks: Looks) -> None:
    voters = looks.stateful_set["spec"]["replicas"]
    healthy = len(looks.survivors)
    version = next(iter(looks.statuses.values())).version
    learner = joins_as_learner(version, looks.request.join_as.value)
    spare = tolerance_while_replacing(voters, healthy, learner=learner)
    evidence = f"{healthy} of {voters} voters healthy, quorum {quorum(voters)}; at worst {spare} may fail"
    looks.findings.judge("quorum", spare >= 0, evidence, NOT_THIS_PROCEDURE)


async def _alarms(looks: Looks, survivors: Survivors) -> None:
    answer = await survivors.run(looks, looks.survivors[0].pod, ["alarm", "list", "-w", "json"])
    alarms = parse_alarms(output_of("etcdctl alarm list", answer))
    theirs = [alarm for alarm in alarms if _is_of_the_failed_member(looks, alarm)]
    others = [alarm for alarm in alarms if alarm not in theirs]
    if theirs:
        evidence = f"the failed member has raised {theirs[0].alarm}; it is disarmed after the removal"
        looks.findings.warn("alarm of the failed member", evidence)
        if looks.resume is not None and looks.is_removed:
            looks.resume = looks.resume.model_copy(update={"alarm_stands": True})
    said = ", ".join(
        f"{a.alarm} of {a.member_id if a.member_id != hexadecimal(0) else 'all'}" for a in others
    )
    looks.findings.judge("no alarm", not others, said or "none", "mend its cause and disarm it first")


def _is_of_the_failed_member(looks: Looks, alarm: Alarm) -> bool:
    """Of a half-done replacement, or runbook, it may be removed, and its id unknown: then it is listed no more."""
    own = alarm.member_id == looks.failed_member.id and alarm.alarm != "CORRUPT"
    left = looks.resume is not None and outlived_by(alarm, {member.id for member in looks.members})
    return left or (own and not looks.is_removed)


async def _may_administer(looks: Looks, survivors: Survivors, pod: str) -> bool:
    """With authentication on, members can be removed, added and hashed by root's certificate only.

    `user list` tells, on 3.4 to 3.6: it is refused like they are, and changes nothing. (`auth status` is newer, and
    nobody but root may ask it.)
    """
    answer = await survivors.run(looks, pod, ["user", "list"])
    may = answer.exit_code == 0
    evidence = "the certificate may administer etcd: authentication is off, or it is root's"
    if not may:
        evidence = f"the certificate may not administer etcd: {answer.stderr.strip()[-200:]}"
    way_out = "authentication is on: etcd.crt needs the common name root (or disable it), then start again"
    looks.findings.judge("authentication", may, evidence, way_out)
    return may


def _versions(looks: Looks) -> None:
    versions = sorted({status.version for status in looks.statuses.values()})
    if any(known_to_corrupt(version) for version in versions):
        way_out = "upgrade etcd after the replacement"
        looks.findings.warn(
            "version", f"etcd {', '.join(versions)} is known to corrupt data when killed", way_out
        )
    else:
        looks.findings.ok("version", f"etcd {', '.join(versions)}")


def _listing(members: list[Member]) -> str:
    return ", ".join(f"{member.name or member.peer_urls[0]} {member.id}" for member in members)
