"""Each thing that etcd can say against a replacement is refused, and a cluster that says none of it is not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import keyspace, preflight_etcd
from activities.preflight_checks import Findings, Looks
from activities.preflight_etcd import look_at_etcd
from activities.step import step
from activities.survivors import Survivors
from replace_etcd.models.orders import Done
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Check, Member, Resume, Survivor, Verdict
from replace_etcd.models.record import Record
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.result import Outcome
from replace_etcd.pod_template import find_flag
from tests.unit.scripted_etcd import NAMES, ScriptedEtcd, certificate
from tests.unit.test_by_hand import record

OK, WARN, REFUSE = Verdict.OK, Verdict.WARN, Verdict.REFUSE
CONTAINER = {"name": "kube-etcd", "args": ["--cert-file=/c/etcd.crt", "--initial-cluster-state=new"]}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not pass need not be waited for."""
    for name in ("ELECTION_SECONDS", "DEFRAGMENTATION_SECONDS", "ASK_AGAIN_SECONDS"):
        monkeypatch.setattr(preflight_etcd, name, 0.0)
    monkeypatch.setattr(keyspace, "HASH_PAUSE_SECONDS", 0.0)


async def look(etcd: ScriptedEtcd, found: Record | None = None, **fields: Any) -> dict[str, Check]:
    """Every check, by its name; `found` is the record of an earlier run."""
    looks = looks_at(etcd, **fields)
    looks.record = found

    @step
    async def looking() -> Done:
        await look_at_etcd(looks)
        return Done()

    await ActivityEnvironment().run(looking)
    assert all(check.evidence for check in looks.findings.checks)
    assert all(check.way_out for check in looks.findings.checks if check.verdict is REFUSE)
    return {check.name: check for check in looks.findings.checks}


def looks_at(etcd: ScriptedEtcd, **fields: Any) -> Looks:
    """What is known before etcd is asked."""
    request = ReplacementRequest.model_validate({"user_cluster": "user-cluster-1", **fields})
    looks = Looks(etcd.tools(), request, Findings(), container="kube-etcd")
    spec = {"containers": [CONTAINER]}
    looks.flag = find_flag(spec, looks.container)
    looks.stateful_set = {"spec": {"replicas": 3, "template": {"spec": spec}}}
    looks.pods = {
        name: {"metadata": {"uid": f"uid-{name}"}, "spec": spec, "status": running_for(etcd.runs_for[name])}
        for name in NAMES
    }
    return looks


def running_for(time: timedelta) -> dict[str, Any]:
    """The status of a pod whose container has run for so long."""
    since = (datetime.now(UTC) - time).strftime("%Y-%m-%dT%H:%M:%SZ")
    running = {"running": {"startedAt": since}}
    return {"containerStatuses": [{"name": "kube-etcd", "restartCount": 3, "state": running}]}


def refused(checks: dict[str, Check]) -> dict[str, str]:
    return {name: check.evidence for name, check in checks.items() if check.verdict is REFUSE}


async def test_a_cluster_with_one_failed_member_passes() -> None:
    checks = await look(ScriptedEtcd(), failed_replica="kube-etcd-1")
    assert refused(checks) == {}
    assert {name for name, check in checks.items() if check.verdict is WARN} == {"snapshot"}
    assert checks["raft indexes"].evidence == "raft indexes are 0 apart"
    assert checks["quorum"].evidence == "2 of 3 voters healthy, quorum 2; at worst 0 may fail"


def learner(etcd: ScriptedEtcd) -> None:
    etcd.members[2].learner = True


def no_leader(etcd: ScriptedEtcd) -> None:
    etcd.members[0].leader = etcd.members[2].leader = 0


def two_leaders(etcd: ScriptedEtcd) -> None:
    etcd.members[2].leader = 12


def led_by_the_failed_one(etcd: ScriptedEtcd) -> None:
    etcd.members[0].leader = etcd.members[2].leader = 11


def two_clusters(etcd: ScriptedEtcd) -> None:
    etcd.members[2].cluster = 8


def far_behind(etcd: ScriptedEtcd) -> None:
    etcd.members[2].raft_index = 5101


def other_list(etcd: ScriptedEtcd) -> None:
    etcd.members[2].listed = [10, 12]


def no_hash(etcd: ScriptedEtcd) -> None:
    etcd.members[2].hashes = False


def other_hash(etcd: ScriptedEtcd) -> None:
    etcd.members[2].hash = 98


def alarm_of_a_survivor(etcd: ScriptedEtcd) -> None:
    etcd.alarms = [{"memberID": 10, "alarm": 1}]


def corrupt(etcd: ScriptedEtcd) -> None:
    etcd.alarms = [{"alarm": 2}]


def authentication(etcd: ScriptedEtcd) -> None:
    etcd.administers = False


def certificates_end(etcd: ScriptedEtcd) -> None:
    etcd.certificate = certificate(days=2)


@pytest.mark.parametrize(
    ("wrong", "name", "evidence"),
    [
        (learner, "no learner", "c"),
        (no_leader, "leader", "0"),
        (two_leaders, "leader", "a, c"),
        (led_by_the_failed_one, "leader", "b"),
        (two_clusters, "one cluster", "8"),
        (far_behind, "raft indexes", "5001 apart"),
        (other_list, "member list", "kube-etcd-1"),
        (no_hash, "hashkv", "could not be compared"),
        (other_hash, "hashkv", "differs at revision 5"),
        (alarm_of_a_survivor, "no alarm", "NOSPACE of a"),
        (corrupt, "no alarm", "CORRUPT of all"),
        (authentication, "authentication", "permission denied"),
        (certificates_end, "certificates", "etcd valid for 47 h"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_own_check_alone(
    wrong: Callable[[ScriptedEtcd], None], name: str, evidence: str
) -> None:
    etcd = ScriptedEtcd()
    wrong(etcd)
    found = refused(await look(etcd))
    assert list(found) == [name]
    assert evidence in found[name]


@pytest.mark.parametrize(
    ("outcome", "way_out"),
    [
        (None, "RestoreInterruptedReplacement puts back"),
        (Outcome.INTERRUPTED, "replace-etcd take-over user-cluster-1 --reason"),
    ],
)
async def test_a_member_that_has_recovered_leaves_what_was_begun_to_be_put_back(
    outcome: Outcome | None, way_out: str
) -> None:
    """A removal that was sent and never applied: the sweeps leave alone what has an outcome."""
    etcd = ScriptedEtcd()
    etcd.members[1].answers = True
    checks = await look(etcd, record(Phase.REMOVING, outcome=outcome, member_id="b"))
    assert list(refused(checks)) == ["exactly one failed member"]
    assert way_out in checks["exactly one failed member"].way_out


async def test_without_the_right_to_it_no_hash_is_asked_for() -> None:
    etcd = ScriptedEtcd()
    etcd.administers = False
    await look(etcd)
    assert not [asked for asked in etcd.asked if "hashkv" in asked]


async def test_an_alarm_of_the_failed_member_is_a_warning() -> None:
    etcd = ScriptedEtcd()
    etcd.alarms = [{"memberID": 11, "alarm": 1}]
    checks = await look(etcd)
    assert refused(checks) == {}
    assert "NOSPACE" in checks["alarm of the failed member"].evidence


@pytest.mark.parametrize(
    ("alarm", "from_", "stands"),
    [
        ({"memberID": 99, "alarm": 1}, Phase.ADDING, True),  # the removed member's
        ({"memberID": 11, "alarm": 1}, Phase.ADDING, None),  # its successor's own
        ({"memberID": 10, "alarm": 1}, Phase.ADDING, None),  # a survivor's
        ({"memberID": 99, "alarm": 2}, Phase.ADDING, None),  # corruption outlives nobody
        ({"alarm": 1}, Phase.ADDING, None),
        ({"memberID": 99, "alarm": 1}, None, None),  # of some member before: nobody knows why it stands
        (
            {"memberID": 99, "alarm": 1},
            Phase.PROTECTING,
            False,
        ),  # disarmed after the removal of its successor
    ],
)
async def test_an_alarm_that_the_removed_member_has_left_is_for_the_resumed_run_to_disarm(
    alarm: dict[str, int], from_: Phase | None, stands: bool | None
) -> None:
    etcd = ScriptedEtcd()
    etcd.alarms = [alarm]
    looks = looks_at(etcd)
    looks.resume = Resume(step=from_, why="a test", new_member_id="b") if from_ else None
    looks.members = [Member(id=one, name=f"kube-etcd-{n}", peer_urls=[]) for n, one in enumerate("abc")]
    looks.failed_member = looks.members[1]
    looks.survivors = [Survivor(pod=NAMES[n], pod_uid="u", member_id="ac"[n // 2]) for n in (0, 2)]
    await preflight_etcd._alarms(looks, Survivors(looks.tools))
    refused_by = [check.name for check in looks.findings.checks if check.verdict is REFUSE]
    assert refused_by == ([] if stands is not None else ["no alarm"])
    assert (looks.resume.alarm_stands if looks.resume else False) is bool(stands)


async def test_a_version_known_to_corrupt_is_a_warning() -> None:
    etcd = ScriptedEtcd()
    for member in etcd.members:
        member.version = "3.5.1"
    assert (await look(etcd))["version"].verdict is WARN


async def test_a_survivor_that_started_just_now_is_a_warning_with_what_to_find_out() -> None:
    """It may have been emptied and have rejoined under its old id: nothing that etcd says tells it."""
    etcd = ScriptedEtcd()
    etcd.runs_for["kube-etcd-1"] = etcd.runs_for["kube-etcd-2"] = timedelta(minutes=4)
    checks = await look(etcd)
    assert refused(checks) == {}
    started = checks["survivors' last start"]
    assert (started.verdict, started.evidence) == (WARN, "kube-etcd-2 started 4 min ago, restart 3")
    assert "kubectl -n user-cluster-1 logs kube-etcd-2 -c kube-etcd --previous" in started.way_out
    assert "kube-etcd-1 may hold the only copy" in started.way_out


@pytest.mark.parametrize("number", [0, 1])
async def test_a_member_that_a_defragmentation_holds_is_not_taken_for_a_failed_one(number: int) -> None:
    """It lists the members and gives no status, as a real one does until it has ended."""
    etcd = ScriptedEtcd()
    etcd.members[number].answers, etcd.members[number].held = True, 99
    found = refused(await look(etcd))
    assert list(found) == ["defragmentation"]
    assert NAMES[number] in found["defragmentation"]


async def test_a_defragmentation_that_ends_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_etcd, "DEFRAGMENTATION_SECONDS", 60.0)
    etcd = ScriptedEtcd()
    etcd.members[0].held = 3
    assert refused(await look(etcd)) == {}


async def test_answers_that_are_lost_while_the_leader_answers_are_no_lost_quorum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight_etcd, "ELECTION_SECONDS", 60.0)
    etcd = ScriptedEtcd()
    etcd.members[2].lost = 2  # its status, and the list
    assert refused(await look(etcd)) == {}


async def test_certificates_that_have_run_out_are_named_beside_the_members_that_look_failed() -> None:
    etcd = ScriptedEtcd()
    etcd.certificate = certificate(days=-1)
    etcd.members[0].answers = etcd.members[2].answers = False
    found = refused(await look(etcd))
    assert list(found) == ["certificates", "exactly one failed member"]
    assert "look failed" in found["certificates"]
    assert "expired" in found["certificates"]


async def test_certificates_that_nobody_can_read_are_a_warning() -> None:
    etcd = ScriptedEtcd()
    etcd.certificate = ""
    checks = await look(etcd)
    assert refused(checks) == {}
    assert checks["certificates that could not be read"].verdict is WARN


async def test_a_shorter_hold_needs_a_day_only() -> None:
    etcd = ScriptedEtcd()
    certificates_end(etcd)
    assert refused(await look(etcd, limits={"hold": "PT1H"})) == {}
    etcd.certificate = certificate(days=0.9)
    assert "certificates" in refused(await look(etcd, limits={"hold": "PT1H"}))


async def test_the_wrong_member_two_failed_members_and_a_recovered_one() -> None:
    etcd = ScriptedEtcd()
    assert "the named replica" in refused(await look(etcd, failed_replica="kube-etcd-2"))
    etcd.members[2].answers = False
    assert "the quorum is lost" in refused(await look(etcd))["exactly one failed member"]
    etcd.members[1].answers = etcd.members[2].answers = True
    assert "failed: none" in refused(await look(etcd))["exactly one failed member"]
