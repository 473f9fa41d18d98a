"""An etcd that answers what a test says: for states that a real one shows only with luck.

A lagging survivor, a hash that differs, a defragmentation that does not end.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import trustme

from activities.step import TemporalIdentity, Toolbox
from replace_etcd.cluster import AdminCluster, CommandResult, Kind, Object
from replace_etcd.etcd import MemberStatus
from replace_etcd.models.record import Record
from replace_etcd.runs import Chain, UntoldEnd
from replace_etcd.settings import Settings

NAMES = ("kube-etcd-0", "kube-etcd-1", "kube-etcd-2")
SILENT = CommandResult("", "context deadline exceeded", 1)
DENIED = CommandResult("", "Error: etcdserver: permission denied", 1)


def certificate(days: float = 30) -> str:
    """The PEM of a certificate that is valid for so long."""
    end = datetime.now(UTC) + timedelta(days=days)
    return (
        trustme.CA()
        .issue_cert("kube-etcd", common_name="etcd", not_after=end)
        .cert_chain_pems[0]
        .bytes()
        .decode()
    )


def status_of(member_id: str, applied: int, of: int) -> MemberStatus:
    """What a member says that has applied so much of what it knows of."""
    return MemberStatus(
        member_id=member_id,
        cluster_id="c",
        version="3.5.35",
        leader_id="a0",
        raft_index=of,
        raft_applied_index=applied,
    )


@dataclass
class ScriptedMember:
    """One member, and what it answers."""

    number: int
    answers: bool = True
    held: int = 0  # how many more questions wait for its database
    lost: int = 0  # how many more of its answers do not arrive
    learner: bool = False
    leader: int = 10
    cluster: int = 7
    raft_index: int = 100
    version: str = "3.5.35"
    hash: int = 99
    hashes: bool = True
    compacted: int = 1
    listed: list[int] = field(default_factory=lambda: [10, 11, 12])

    @property
    def id(self) -> int:
        return 10 + self.number

    def answer(self, words: str, learners: set[int], alarms: list[Any]) -> CommandResult:
        """The answer to an `etcdctl` command."""
        if not self.answers or (words == "endpoint hashkv" and not self.hashes):
            return SILENT
        if self.lost:
            self.lost -= 1
            return SILENT
        if self.held and words != "member list":
            self.held -= 1
            return SILENT
        return CommandResult(json.dumps(self._document(words, learners, alarms)), "", 0)

    def _document(self, words: str, learners: set[int], alarms: list[Any]) -> Any:
        header = {"member_id": self.id, "cluster_id": self.cluster, "revision": 5}
        if words == "endpoint status":
            status = {
                "header": header,
                "version": self.version,
                "leader": self.leader,
                "isLearner": self.learner,
            }
            return [{"Status": status | {"raftIndex": self.raft_index, "dbSize": 1 << 20}}]
        if words == "endpoint hashkv":
            return [{"HashKV": {"header": header, "hash": self.hash, "compact_revision": self.compacted}}]
        if words == "alarm list":
            return {"alarms": alarms}
        return {"members": [_listed(number, number in learners) for number in self.listed]}


def _listed(number: int, learner: bool) -> Any:
    name = NAMES[number - 10]
    urls = {"peerURLs": [f"https://{name}:2380"], "clientURLs": [f"https://{name}:2379"]}
    return {"ID": number, "name": name, **urls} | ({"isLearner": True} if learner else {})


class ScriptedEtcd:
    """Three members, the second of which has failed; the part of an admin cluster through which they are asked."""

    def __init__(self) -> None:
        self.members = [ScriptedMember(0), ScriptedMember(1, answers=False), ScriptedMember(2)]
        self.alarms: list[Any] = []
        self.certificate = certificate()
        self.administers = True
        self.runs_for = dict.fromkeys(NAMES, timedelta(days=1))
        self.asked: list[str] = []
        self.objects: dict[tuple[str, str], Object] = {}

    async def execute(
        self, namespace: str, pod: str, container: str, command: list[str], *, seconds: float
    ) -> CommandResult:
        """Run a command in a pod."""
        member = self.members[NAMES.index(pod)]
        if command[0] == "cat":
            return CommandResult(self.certificate, "", 0) if self.certificate else SILENT
        words = " ".join(word for word in command[1:] if not word.startswith("-") and word != "json")
        self.asked.append(f"{pod} {words}")
        endpoint = next(word for word in command if word.startswith("--endpoints="))
        for other in self.members:
            if NAMES[other.number] in endpoint:  # by its client URL, not by its own loopback
                member = other
        if words == "user list" or (words == "endpoint hashkv" and not self.administers):
            return CommandResult("{}", "", 0) if self.administers else DENIED
        return member.answer(words, {one.id for one in self.members if one.learner}, self.alarms)

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Read one object."""
        return self.objects.get((kind.plural, name))

    async def find(self, kind: Kind, namespace: str | None = None, **_: str) -> list[Object]:
        """Read a collection."""
        return [found for (plural, _), found in self.objects.items() if plural == kind.plural]

    def tools(self, **settings: Any) -> Toolbox:
        """What the activities are given."""
        identity = TemporalIdentity("temporal-1", "default")
        return Toolbox(cast(AdminCluster, self), Settings(**settings), identity, _NoRuns())


class _NoRuns:
    async def state_of(self, record: Record) -> Chain:
        return Chain.UNKNOWN

    async def cancel(self, workflow_id: str, run_id: str) -> None:
        raise AssertionError("nothing is cancelled here")

    async def untold_end(self, workflow_id: str, run_id: str) -> UntoldEnd | None:
        return None

    async def is_restored(self, user_cluster: str, run_id: str) -> bool:
        return False

    async def is_newest(self, workflow_id: str, run_id: str) -> bool | None:
        return None
