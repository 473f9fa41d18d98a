"""Reading etcdctl's answers, and what a version means."""

import pytest

from replace_etcd.etcd import (
    joins_as_learner,
    known_to_corrupt,
    parse_alarms,
    parse_hash,
    parse_members,
    parse_status,
    reachable_urls,
)
from replace_etcd.models.plan import Member

# Captured from etcdctl 3.5.1, shortened.
MEMBERS = (
    '{"header":{"cluster_id":17237436991929494000,"member_id":9372538179322590000,"raft_term":2},"members":['
    '{"ID":9372538179322589801,"name":"kube-etcd-0","peerURLs":["https://kube-etcd-0.kube-etcd:2380"],'
    '"clientURLs":["https://kube-etcd-0.kube-etcd:2379"]},'
    '{"ID":10501334649042878790,"peerURLs":["https://kube-etcd-1.kube-etcd:2380"],"isLearner":true}]}'
)
STATUS = (
    '[{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"cluster_id":1,"member_id":9372538179322589801,'
    '"revision":4,"raft_term":2},"version":"3.5.1","dbSize":20480,"leader":9372538179322589801,"raftIndex":9,'
    '"raftTerm":2,"raftAppliedIndex":9,"dbSizeInUse":16384}}]'
)


def test_ids_keep_all_their_64_bits() -> None:
    first, second = parse_members(MEMBERS)
    assert first.id == f"{9372538179322589801:x}"
    assert (first.started, first.learner) == (True, False)
    assert (second.started, second.learner) == (False, True)


def test_a_status_without_a_leader_says_so() -> None:
    assert parse_status(STATUS).leader_id == f"{9372538179322589801:x}"
    assert parse_status(STATUS.replace('"leader":9372538179322589801,', "")).leader_id == "0"


@pytest.mark.parametrize("part", ["HashKV", "Hash"])
def test_the_hash_is_read_in_both_spellings(part: str) -> None:
    answer = '[{"Endpoint":"x","HashKV":{"header":{"revision":7},"hash":42,"compact_revision":3}}]'
    answer = answer.replace("HashKV", part)
    assert (parse_hash(answer).hash, parse_hash(answer).compact_revision, parse_hash(answer).revision) == (
        42,
        3,
        7,
    )


def test_no_alarms_are_no_alarms() -> None:
    assert parse_alarms('{"header":{}}') == []
    (alarm,) = parse_alarms('{"alarms":[{"memberID":255,"alarm":1}]}')
    assert (alarm.member_id, alarm.alarm) == ("ff", "NOSPACE")


@pytest.mark.parametrize(
    ("version", "learner"),
    [
        ("3.3.25", False),
        ("3.4.13", True),
        ("3.5.0", True),
        ("3.5.1", False),
        ("3.5.19", False),
        ("3.5.20", True),
        ("3.6.16", True),
    ],
)
def test_auto_joins_as_a_learner_where_a_promotion_lasts(version: str, learner: bool) -> None:
    assert joins_as_learner(version, "auto") is learner
    assert joins_as_learner(version, "learner")
    assert not joins_as_learner(version, "voter")


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("3.5.0", True),
        ("3.5.2", True),
        ("3.5.3", False),
        ("3.5.5", True),
        ("3.4.21", True),
        ("3.4.13", False),
        ("3.6.0-rc.1", False),
    ],
)
def test_versions_that_corrupt_are_known(version: str, known: bool) -> None:
    assert known_to_corrupt(version) is known


@pytest.mark.parametrize(
    ("client_urls", "peer_url", "reachable"),
    [
        (["https://kube-etcd-0:2379"], "https://kube-etcd-0:2380", ["https://kube-etcd-0:2379"]),
        (["https://127.0.0.1:2379", "https://10.0.0.7:2379"], "https://p:2380", ["https://10.0.0.7:2379"]),
        (
            ["https://127.0.0.1:4001"],
            "https://kube-etcd-0.kube-etcd:2380",
            ["https://kube-etcd-0.kube-etcd:4001"],
        ),
        (["https://localhost"], "https://10.0.0.7:2380", ["https://10.0.0.7:2379"]),
        (["https://[::1]:2379"], "https://[fd00::7]:2380", ["https://[fd00::7]:2379"]),
        (["https://0.0.0.0:2379"], "https://kube-etcd-0:2380", ["https://kube-etcd-0:2379"]),
        (["https://127.0.0.1:2379"], "https://127.0.0.1:2380", []),
        ([], "https://kube-etcd-0:2380", []),
    ],
)
def test_a_member_that_advertises_only_itself_is_found_at_its_peers_host(
    client_urls: list[str], peer_url: str, reachable: list[str]
) -> None:
    assert reachable_urls(Member(id="a", peer_urls=[peer_url], client_urls=client_urls)) == reachable
