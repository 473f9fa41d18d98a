"""`etcdctl` over the model: the commands that the product sends, with the answers of 3.5 in JSON.

A command that is not known here raises `UnknownCommand` with its text: a new one of the product is a few lines more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.robustness.membership import Etcd, Group, Member, Refused, TimedOut, peer_url

Json = dict[str, Any]
VERSION = "3.5.35"
ALARMS = {"NOSPACE": 1, "CORRUPT": 2}


class UnknownCommand(Exception):
    """The model has no answer to this command."""


@dataclass(frozen=True)
class Answer:
    """What a command leaves behind."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


@dataclass
class Arguments:
    """A command line, taken apart."""

    words: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Sequence[str]) -> Arguments:
        """`-w json` takes a word more; every other flag is written with `=`, or is a switch."""
        parsed, words = cls(), list(given)
        while words:
            word = words.pop(0)
            if word in ("-w", "--write-out"):
                parsed.flags["write-out"] = words.pop(0)
            elif word.startswith("--"):
                name, _, value = word[2:].partition("=")
                parsed.flags[name] = value
            else:
                parsed.words.append(word)
        return parsed


def run(etcd: Etcd, own: str, given: Sequence[str]) -> Answer:
    """Run `etcdctl` in the pod of a member; `own` is asked where the endpoint is the loopback."""
    arguments = Arguments.of(given)
    via = asked(own, arguments.flags.get("endpoints", ""))
    try:
        return Answer(_command(arguments)(etcd, via, arguments))
    except (Refused, TimedOut, KeyError) as error:
        # A name without a process (KeyError) is an endpoint that nobody listens on.
        text = "context deadline exceeded" if isinstance(error, KeyError) else str(error)
        return Answer(stderr=f"Error: {text}\n", exit_code=1)


Command = Callable[[Etcd, str, Arguments], str]


def _command(arguments: Arguments) -> Command:
    for words, command in COMMANDS.items():
        if arguments.words[: len(words)] == list(words):
            return command
    raise UnknownCommand(f"etcdctl {' '.join(arguments.words)}")


def asked(own: str, endpoint: str) -> str:
    host = endpoint.rpartition("//")[2].partition(":")[0].partition(".")[0]
    return own if host in ("", "127", "localhost") else host


def _member_list(etcd: Etcd, via: str, arguments: Arguments) -> str:
    group = etcd.listing(via)
    return _json({"header": _header(etcd, via), "members": [_listed(member) for member in group.members]})


def _listed(member: Member) -> Json:
    listed: Json = {"ID": member.id, "peerURLs": [member.peer_url]}
    if member.name:
        listed |= {"name": member.name, "clientURLs": [member.client_url] if member.client_url else []}
    return listed | ({"isLearner": True} if member.learner else {})


def _member_add(etcd: Etcd, via: str, arguments: Arguments) -> str:
    name = arguments.words[2]
    url = arguments.flags.get("peer-urls", peer_url(name))
    identity = etcd.add(via, name, url, learner="learner" in arguments.flags)
    return f"Member {identity:16x} added to cluster {etcd.view(via).id:16x}\n"


def _member_remove(etcd: Etcd, via: str, arguments: Arguments) -> str:
    identity = int(arguments.words[2], 16)
    etcd.remove(via, identity)
    return f"Member {identity:16x} removed from cluster {etcd.view(via).id:16x}\n"


def _member_promote(etcd: Etcd, via: str, arguments: Arguments) -> str:
    identity = int(arguments.words[2], 16)
    etcd.promote(via, identity)
    return f"Member {identity:16x} promoted in cluster {etcd.view(via).id:16x}\n"


def _move_leader(etcd: Etcd, via: str, arguments: Arguments) -> str:
    etcd.move_leader(via, int(arguments.words[1], 16))
    return f"Leadership transferred to {arguments.words[1]}\n"


def _endpoint_status(etcd: Etcd, via: str, arguments: Arguments) -> str:
    group = etcd.view(via)
    member = group.member(etcd.identity(via))
    status: Json = {
        "header": _header(etcd, via),
        "version": VERSION,
        "dbSize": 20480,
        "dbSizeInUse": 16384,
        "leader": group.leader or 0,
        "raftIndex": len(group.log) + 8,
        "raftAppliedIndex": len(etcd.keys(via)) + 8,
        "raftTerm": group.term,
    }
    status |= {"isLearner": True} if member is not None and member.learner else {}
    problems = [] if group.leader else ["etcdserver: no leader"]
    problems += [f"memberID:{identity} alarm:{alarm} " for identity, alarm in group.alarms]
    status |= {"errors": problems} if problems else {}
    return _json([{"Endpoint": arguments.flags.get("endpoints", ""), "Status": status}])


def _endpoint_health(etcd: Etcd, via: str, arguments: Arguments) -> str:
    etcd.listing(via)  # a learner answers that it cannot, and so counts as unhealthy
    return _json([{"endpoint": arguments.flags.get("endpoints", ""), "health": True, "took": "1ms"}])


def _endpoint_hashkv(etcd: Etcd, via: str, arguments: Arguments) -> str:
    revision = int(arguments.flags.get("rev", 0))
    keys = etcd.keys(via)[: revision - 1 if revision else None]  # an empty store is at revision 1
    value = int.from_bytes(hashlib.sha256("\n".join(keys).encode()).digest()[:4], "big")
    part = {"header": _header(etcd, via), "hash": value, "compact_revision": -1}
    return _json([{"Endpoint": arguments.flags.get("endpoints", ""), "HashKV": part}])


def _alarm_list(etcd: Etcd, via: str, arguments: Arguments) -> str:
    return _alarms(etcd, via, etcd.listing(via).alarms)


def _alarm_disarm(etcd: Etcd, via: str, arguments: Arguments) -> str:
    return _alarms(etcd, via, etcd.disarm(via))


def _alarms(etcd: Etcd, via: str, alarms: list[tuple[int, str]]) -> str:
    listed = [{"memberID": identity, "alarm": ALARMS[name]} for identity, name in alarms]
    return _json({"header": _header(etcd, via), **({"alarms": listed} if listed else {})})


def _auth_status(etcd: Etcd, via: str, arguments: Arguments) -> str:
    etcd.listing(via)
    return _json({"header": _header(etcd, via), "authRevision": 1})


def _user_list(etcd: Etcd, via: str, arguments: Arguments) -> str:
    """Nobody, since authentication is off; where it is on, root alone may ask."""
    etcd.listing(via)
    return ""


def _put(etcd: Etcd, via: str, arguments: Arguments) -> str:
    etcd.put(via, arguments.words[1])
    return "OK\n"


def _get(etcd: Etcd, via: str, arguments: Arguments) -> str:
    """Every key of a prefix, keys only; linearizable unless `--consistency=s`."""
    if arguments.flags.get("consistency") != "s":
        etcd.listing(via)
    return "".join(f"{key}\n" for key in sorted(etcd.keys(via)) if key.startswith(arguments.words[1]))


def _header(etcd: Etcd, via: str) -> Json:
    group: Group = etcd.view(via)
    return {
        "cluster_id": group.id,
        "member_id": etcd.identity(via),
        "revision": len(etcd.keys(via)) + 1,
        "raft_term": group.term,
    }


def _json(answer: object) -> str:
    return json.dumps(answer) + "\n"


COMMANDS: dict[tuple[str, ...], Command] = {
    ("member", "list"): _member_list,
    ("member", "add"): _member_add,
    ("member", "remove"): _member_remove,
    ("member", "promote"): _member_promote,
    ("move-leader",): _move_leader,
    ("endpoint", "status"): _endpoint_status,
    ("endpoint", "health"): _endpoint_health,
    ("endpoint", "hashkv"): _endpoint_hashkv,
    ("alarm", "list"): _alarm_list,
    ("alarm", "disarm"): _alarm_disarm,
    ("auth", "status"): _auth_status,
    ("user", "list"): _user_list,
    ("put",): _put,
    ("get",): _get,
}
