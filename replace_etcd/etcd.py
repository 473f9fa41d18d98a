"""`etcdctl` commands and the reading of their answers, for 3.4 to 3.6; no I/O here.

Decisions rest on member lists and statuses, never on the texts of errors (docs/contract.md, Etcd rules).
"""

import ipaddress
import json
import re
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from replace_etcd.models import Message
from replace_etcd.models.plan import Member

CLIENT_PORT = 2379
LEARNERS_SINCE = (3, 4)
# Promotion is not persisted for a later 3.6: etcd issues 19557 and 20793 (fixed in 3.5.20).
PROMOTION_NOT_PERSISTED = ((3, 5, 1), (3, 5, 19))
# etcd's own list: https://etcd.io/docs/v3.5/op-guide/data_corruption/ and the notice on 3.5.0 to 3.5.2.
KNOWN_TO_CORRUPT = (((3, 5, 0), (3, 5, 2)), ((3, 4, 21), (3, 4, 21)), ((3, 5, 5), (3, 5, 5)))

CLOSE_RAFT_INDEXES = 5000  # as far as a survivor may lag: etcd keeps that many entries for slow followers


class MemberStatus(Message):
    """What one member says of itself."""

    member_id: str
    cluster_id: str
    version: str
    leader_id: str
    raft_index: int
    raft_applied_index: int = 0
    db_size: int = 0
    learner: bool = False
    errors: list[str] = []


class HashKv(Message):
    """The hash of a member's keyspace; comparable only at one revision and one compact revision."""

    hash: int
    compact_revision: int
    revision: int = 0


class Alarm(Message):
    """An alarm that a member has raised."""

    member_id: str
    alarm: str


def etcdctl(arguments: list[str], *, certificates: str, endpoint: str, seconds: int) -> list[str]:
    """An `etcdctl` command line with mutual TLS and the time limit inside the command."""
    return [
        "etcdctl",
        f"--endpoints={endpoint}",
        f"--cacert={certificates}/etcdCA.crt",
        f"--cert={certificates}/etcd.crt",
        f"--key={certificates}/etcd.key",
        f"--command-timeout={seconds}s",
        f"--dial-timeout={min(seconds, 3)}s",
        *arguments,
    ]


def hexadecimal(number: int) -> str:
    """A member id as etcd prints it."""
    return f"{number:x}"


def parse_members(output: str) -> list[Member]:
    """Read `member list -w json`; `isLearner` is left out where it is false."""
    return [
        Member(
            id=hexadecimal(member["ID"]),
            name=member.get("name", ""),
            peer_urls=member.get("peerURLs") or [],
            client_urls=member.get("clientURLs") or [],
            learner=member.get("isLearner", False),
        )
        for member in json.loads(output)["members"]
    ]


def parse_status(output: str) -> MemberStatus:
    """Read `endpoint status -w json` of one endpoint."""
    status = json.loads(output)[0]["Status"]
    header = status["header"]
    return MemberStatus(
        member_id=hexadecimal(header["member_id"]),
        cluster_id=hexadecimal(header["cluster_id"]),
        version=status["version"],
        leader_id=hexadecimal(status.get("leader", 0)),
        raft_index=status.get("raftIndex", 0),
        raft_applied_index=status.get("raftAppliedIndex", 0),
        db_size=status.get("dbSize", 0),
        learner=status.get("isLearner", False),
        errors=status.get("errors") or [],
    )


def parse_hash(output: str) -> HashKv:
    """Read `endpoint hashkv -w json` of one endpoint; 3.4 calls the part `Hash`, later ones `HashKV`."""
    answer: dict[str, Any] = json.loads(output)[0]
    part = answer.get("HashKV") or answer["Hash"]
    return HashKv(
        hash=part["hash"],
        compact_revision=part.get("compact_revision", 0),
        revision=part["header"].get("revision", 0),
    )


def parse_alarms(output: str) -> list[Alarm]:
    """Read `alarm list -w json`; the answer has no `alarms` where there are none."""
    names = {1: "NOSPACE", 2: "CORRUPT"}
    return [
        Alarm(member_id=hexadecimal(alarm.get("memberID", 0)), alarm=names.get(alarm.get("alarm", 0), "NONE"))
        for alarm in json.loads(output).get("alarms") or []
    ]


def outlived_by(alarm: Alarm, listed: Collection[str]) -> bool:
    """Whether an alarm is of a member that is listed no more; one of all members (id 0), or CORRUPT, never is."""
    return alarm.member_id not in {*listed, hexadecimal(0)} and alarm.alarm != "CORRUPT"


def raft_distance(statuses: Sequence[MemberStatus]) -> int:
    """How far the slowest of them is behind the fastest, in raft entries."""
    indexes = [status.raft_index for status in statuses]
    return max(indexes) - min(indexes)


def version_tuple(version: str) -> tuple[int, ...]:
    """`3.5.13` as (3, 5, 13); what follows a hyphen does not count."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("-", maxsplit=1)[0])[:3])


def joins_as_learner(version: str, wish: str) -> bool:
    """Whether the new member joins as a learner: `auto` means wherever promotion is known to last."""
    if wish != "auto":
        return wish == "learner"
    number = version_tuple(version)
    first, last = PROMOTION_NOT_PERSISTED
    return number[:2] >= LEARNERS_SINCE and not first <= number <= last


def known_to_corrupt(version: str) -> bool:
    """Whether this version is on etcd's list of versions that corrupt data."""
    return any(first <= version_tuple(version) <= last for first, last in KNOWN_TO_CORRUPT)


def same_member(member: Member, name: str, peer_urls: list[str]) -> bool:
    """Whether a listed member has this name or one of these peer URLs."""
    return member.name == name or bool(set(member.peer_urls) & set(peer_urls))


def reachable_urls(member: Member) -> list[str]:
    """The client URLs that other pods can use.

    A member that advertises only itself (a loopback or unspecified address) is found at its peer URL's host.
    """
    urls = [url for url in member.client_urls if not _only_itself(url)]
    hosts = [urlsplit(url).hostname for url in member.peer_urls if not _only_itself(url)]
    if urls or not hosts or not member.client_urls:
        return urls
    client = urlsplit(member.client_urls[0])
    host = f"[{hosts[0]}]" if ":" in (hosts[0] or "") else hosts[0]
    return [f"{client.scheme}://{host}:{client.port or CLIENT_PORT}"]


def is_address(url: str) -> bool:
    """Whether a URL names a host by its address."""
    try:
        ipaddress.ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    return True


def _only_itself(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified
