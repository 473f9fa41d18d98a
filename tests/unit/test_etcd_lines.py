"""Every line of etcd is read alike, from answers that it really gave (`capture_etcd.py`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from replace_etcd.etcd import parse_alarms, parse_hash, parse_members, parse_status, version_tuple
from replace_etcd.snapshot import parse_snapshot_status

OUTPUTS = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "etcd_outputs").iterdir()
}
LINES = sorted(OUTPUTS)


class Answers:
    """What one release answered."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._answers: dict[str, dict[str, Any]] = OUTPUTS[version]

    def said(self, name: str) -> str:
        """The output of a command that succeeded."""
        assert self._answers[name]["exit_code"] == 0, name
        return str(self._answers[name]["stdout"])

    def refused(self, name: str) -> str:
        """The error of a command that did not."""
        assert self._answers[name]["exit_code"] != 0, name
        return str(self._answers[name]["stderr"])


@pytest.fixture(params=LINES)
def line(request: pytest.FixtureRequest) -> Answers:
    return Answers(request.param)


def test_each_line_is_here() -> None:
    assert {version_tuple(version)[:2] for version in LINES} == {(3, 4), (3, 5), (3, 6)}


def test_members_with_all_their_bits_as_etcdctl_prints_them_for_people(line: Answers) -> None:
    members = {member.name: member for member in parse_members(line.said("member list"))}
    printed = {
        row.split(", ")[2]: row.split(", ") for row in line.said("member list, for people").splitlines()
    }
    assert {name: member.id for name, member in members.items()} == {
        name: row[0] for name, row in printed.items()
    }
    assert (members["first"].learner, members["second"].learner) == (False, True)
    assert all(member.started and member.peer_urls and member.client_urls for member in members.values())


def test_a_member_that_has_not_started(line: Answers) -> None:
    """It has no name and no client URL in any line."""
    (waiting,) = [m for m in parse_members(line.said("member list, not started")) if not m.started]
    assert (waiting.name, waiting.client_urls, waiting.learner) == ("", [], True)
    assert waiting.id in line.said("member add, learner")


def test_the_lists_of_people_are_told_as_the_words_by_hand_tell_them(line: Answers) -> None:
    """`voters` in replace_etcd/by_hand/names.py."""
    rows = line.said("member list, for people").splitlines()
    assert [row.endswith(", false") for row in sorted(rows, key=lambda row: row.split(", ")[2])] == [
        True,
        False,
    ]
    assert all(row.split(", ")[1] == "started" for row in rows)


def test_a_voter_and_a_learner_say_what_they_are(line: Answers) -> None:
    ids = {member.name: member.id for member in parse_members(line.said("member list"))}
    voter, learner = (
        parse_status(line.said(name)) for name in ("endpoint status", "endpoint status, learner")
    )
    assert (voter.member_id, learner.member_id) == (ids["first"], ids["second"])
    assert voter.leader_id == learner.leader_id == ids["first"]
    assert (voter.learner, learner.learner) == (False, True)
    assert voter.version == learner.version == line.version
    assert voter.cluster_id == learner.cluster_id
    assert voter.raft_index >= voter.raft_applied_index > 0
    assert voter.db_size > 0
    assert voter.errors == []


def test_health_calls_a_learner_unhealthy_and_nobody_is_an_error_of_the_command(line: Answers) -> None:
    """So it is `endpoint status` that is asked, by its exit code: its output is `[]` or, in 3.6, `null`."""
    assert json.loads(line.said("endpoint health"))[0]["health"] is True
    assert "rpc not supported for learner" in line.refused("endpoint health, learner")
    assert line.refused("endpoint status, nobody")
    assert "rpc not supported for learner" in line.refused("member list, of a learner")


def test_hashes_are_equal_across_lines(line: Answers) -> None:
    found = parse_hash(line.said("endpoint hashkv"))
    assert found.revision == 2
    assert found == parse_hash(OUTPUTS[LINES[0]]["endpoint hashkv"]["stdout"])


def test_alarms(line: Answers) -> None:
    assert parse_alarms(line.said("alarm list, none")) == []
    (alarm,) = parse_alarms(line.said("alarm list"))
    first = next(m for m in parse_members(line.said("member list")) if m.name == "first")
    assert (alarm.member_id, alarm.alarm) == (first.id, "NOSPACE")


def test_a_snapshot(line: Answers) -> None:
    status = parse_snapshot_status(line.said("snapshot status"))
    assert status.revision >= 2
    assert status.total_keys > 0
    assert status.hash > 0


def test_user_list_tells_whether_etcd_may_be_administered(line: Answers) -> None:
    """`auth status` is help in 3.4, with exit code 0; and 3.6 does not even list its members to anybody."""
    assert line.said("user list") == ""
    assert "user name is empty" in line.refused("user list, denied")


def test_errors_that_are_waited_out_or_told_to_people(line: Answers) -> None:
    assert "member not found" in line.refused("member remove, unknown")
    assert line.refused("member add, again")
