"""A model of etcd's membership and data: small enough to run hundreds of replacements side by side.

It claims only the rows of the table in tests/robustness/test_membership.py, which ask real etcd the same questions.
Where raft leaves a choice (who becomes leader), it takes the worst. Everything is decided from the state at the
moment of the question: `tick` first lets happen what has become possible.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field

NOT_FOUND = "etcdserver: member not found"
UNHEALTHY = "etcdserver: unhealthy cluster"
NOT_ENOUGH_STARTED = "etcdserver: re-configuration failed due to not enough started members"
URL_EXISTS = "etcdserver: Peer URLs already exists"
NOT_LEARNER = "etcdserver: can only promote a learner member"
NOT_IN_SYNC = "etcdserver: can only promote a learner member which is in sync with leader"
TOO_MANY_LEARNERS = "etcdserver: too many learner members in cluster"
NO_SPACE = "etcdserver: mvcc: database space exceeded"
NOT_FOR_LEARNERS = "etcdserver: rpc not supported for learner"
TIMED_OUT = "context deadline exceeded"
PERMANENTLY_REMOVED = "the member has been permanently removed from the cluster"
BOOTSTRAPPED = "has already been bootstrapped"
UNEQUAL = "error validating peerURLs: member count is unequal"
OUT_OF_RANGE = "tocommit(9) is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?"
BROKEN = "walpb: crc mismatch"

SETTLE = 5.0  # etcd's HealthInterval: so long must a peer have been connected to count
ELECTION = 0.2
_times = itertools.count(1)


class Refused(Exception):
    """etcd answers with an error; nothing was changed."""


class TimedOut(Exception):
    """No answer in time: the change may come later."""


def id_of(*parts: str) -> int:
    """An id as etcd makes it: of the peer URL and the token at a bootstrap, of the time too at an add."""
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:8], "big")


@dataclass
class Member:
    """A member as it is listed; it has a name once it has started."""

    id: int
    peer_url: str
    name: str = ""
    client_url: str = ""
    learner: bool = False


@dataclass
class Group:
    """A cluster with one id: what its quorum has agreed on."""

    id: int
    members: list[Member]
    removed: set[int] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    alarms: list[tuple[int, str]] = field(default_factory=list)
    leader: int | None = None
    leaderless_since: float = 0.0
    term: int = 1
    matched: set[int] = field(default_factory=set)
    """Members whose progress the leader knows: one of them that comes back empty panics."""
    pending: list[Callable[[], None]] = field(default_factory=list)
    """Changes that a leader without a quorum has in its log."""

    def member(self, identity: int) -> Member | None:
        """The member with this id, if it is listed."""
        return next((member for member in self.members if member.id == identity), None)

    @property
    def voters(self) -> list[Member]:
        """Those who count."""
        return [member for member in self.members if not member.learner]


@dataclass
class Directory:
    """What a data directory holds: whose it is, and how far its log goes."""

    group: Group
    member_id: int
    applied: int = 0
    broken: bool = False


@dataclass
class Process:
    """An etcd that runs, is paused, or has ended with a code and last words."""

    directory: Directory | None = None
    since: float = 0.0
    paused: bool = False
    quota: int | None = None
    code: int | None = None
    said: str = ""

    @property
    def runs(self) -> bool:
        """Whether it answers."""
        return self.code is None and not self.paused


class Etcd:
    """Every etcd of one user cluster, by the name of its member; disks may be real (any mapping will do)."""

    def __init__(
        self,
        disks: MutableMapping[str, Directory] | None = None,
        *,
        settle: float = SETTLE,
        election: float = ELECTION,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.disks: MutableMapping[str, Directory] = {} if disks is None else disks
        self.processes: dict[str, Process] = {}
        self.removals: list[int] = []
        """Every id that was ever removed, for the judge."""
        self._groups: dict[int, Group] = {}
        self._settle, self._election, self._clock = settle, election, clock

    # What happens to processes and disks

    def start(self, name: str, state: str, initial: Iterable[str], *, quota: int | None = None) -> Process:
        """Start a member as a StatefulSet does: its flag, and all the names of `--initial-cluster`."""
        self.tick()
        process = Process(since=self._clock(), quota=quota)
        directory = self.disks.get(name)
        if directory is not None and directory.broken:
            _ended(process, 1, BROKEN)
        elif directory is not None:
            process.directory = directory
        else:
            self._first_start(process, name, state, list(initial))
        self.processes[name] = process
        self.tick()
        return process

    def stop(self, name: str, code: int = 137) -> None:
        """End a process; its directory stays."""
        self.tick()
        if self.processes[name].code is None:
            _ended(self.processes[name], code, "")
        self.tick()

    def pause(self, name: str) -> None:
        """Stop a process with a signal: its connections stay and nobody answers."""
        self.tick()
        self.processes[name].paused = True
        self.tick()

    def resume(self, name: str) -> None:
        """Let a paused process go on."""
        self.processes[name].paused = False
        self.processes[name].since = self._clock()
        self.tick()

    def wipe(self, name: str) -> None:
        """Empty a data directory; a process that runs on it does not notice."""
        self.tick()
        self.disks.pop(name, None)

    def break_disk(self, name: str) -> None:
        """Damage a data directory, so that no start from it succeeds."""
        self.disks[name].broken = True

    def raise_alarm(self, name: str) -> None:
        """Let a member report that its disk is full: from now on nobody may write."""
        self.tick()
        self._group(name).alarms.append((self.identity(name), "NOSPACE"))

    # What etcdctl asks for; `via` is the member that is asked

    def put(self, via: str, key: str) -> None:
        """Write a key: acknowledged by the quorum, or an exception."""
        group = self._group_for_a_change(via)
        if group.alarms:
            raise Refused(NO_SPACE)
        self._commit(group, lambda: group.log.append(key))
        for process, member in self._running(group):
            if process.quota is not None and len(group.log) > process.quota:
                group.alarms.append((member.id, "NOSPACE"))

    def add(self, via: str, name: str, peer_url: str, *, learner: bool) -> int:
        """`member add`, with the checks of --strict-reconfig-check in etcd's order."""
        group = self._group_for_a_change(via)
        started = sum(bool(member.name) for member in group.voters)
        if (
            not learner
            and started < (len(group.voters) + 1) // 2 + 1
            and (started, len(group.voters)) != (1, 1)
        ):
            raise Refused(NOT_ENOUGH_STARTED)
        if not all(self._connected(group, voter) for voter in group.voters):
            raise Refused(UNHEALTHY)
        if any(member.peer_url == peer_url for member in group.members):
            raise Refused(URL_EXISTS)
        if learner and any(member.learner for member in group.members):
            raise Refused(TOO_MANY_LEARNERS)
        member = Member(id_of(peer_url, name, str(next(_times))), peer_url, learner=learner)
        self._commit(group, lambda: group.members.append(member))
        return member.id

    def remove(self, via: str, identity: int) -> None:
        """`member remove`: of a dead member always, of a living one only if enough others live."""
        group = self._group_for_a_change(via)
        member = group.member(identity)
        if member is not None and not member.learner:
            others = [voter for voter in group.voters if voter.id != identity]
            if sum(bool(voter.name) for voter in others) < len(others) // 2 + 1:
                raise Refused(NOT_ENOUGH_STARTED)
            active = [voter for voter in group.voters if self._connected(group, voter)]
            alive = any(found.id == identity for _, found in self._running(group))
            if alive and len(active) - 1 < 1 + (len(group.voters) - 1) // 2:
                raise Refused(UNHEALTHY)

        def apply() -> None:
            if group.member(identity) is None:
                return
            group.members = [other for other in group.members if other.id != identity]
            group.removed.add(identity)
            self.removals.append(identity)

        self._commit(group, apply)
        if member is None:
            raise Refused(NOT_FOUND)

    def promote(self, via: str, identity: int) -> None:
        """`member promote`: only a learner that has started and caught up."""
        group = self._group_for_a_change(via)
        member = group.member(identity)
        if member is None:
            raise Refused(NOT_FOUND)
        if not member.learner:
            raise Refused(NOT_LEARNER)
        if not any(found is member for _, found in self._running(group)):
            raise Refused(NOT_IN_SYNC)

        def apply() -> None:
            member.learner = False

        self._commit(group, apply)

    def disarm(self, via: str) -> list[tuple[int, str]]:
        """`alarm disarm`: all of them."""
        group = self._group_for_a_change(via)
        alarms = list(group.alarms)
        self._commit(group, group.alarms.clear)
        return alarms

    def move_leader(self, via: str, identity: int) -> None:
        """`move-leader`; only the leader can be asked."""
        group = self._group_for_a_change(via)
        if group.leader != self.identity(via):
            raise Refused("no leader endpoint given")
        if not any(member.id == identity and not member.learner for _, member in self._running(group)):
            raise Refused("etcdserver: bad leader transferee")
        self._lead(group, identity)

    def listing(self, via: str) -> Group:
        """The group, for a linearizable read: there must be a leader with a quorum."""
        group = self._group(via)
        if self._is_learner(via):
            raise Refused(NOT_FOR_LEARNERS)
        if group.leader is None:
            raise TimedOut(TIMED_OUT)
        return group

    def view(self, via: str) -> Group:
        """The group, for what a member says of itself: no quorum is needed."""
        return self._group(via)

    def identity(self, name: str) -> int:
        """The id of the member whose process this is."""
        directory = self.processes[name].directory
        if directory is None:
            raise TimedOut(TIMED_OUT)
        return directory.member_id

    def keys(self, name: str) -> list[str]:
        """What this member has, read from it alone."""
        group = self._group(name)
        directory = self.processes[name].directory
        return group.log[: directory.applied if directory else 0]

    # How the state follows from it

    def tick(self) -> None:
        """Let happen what can: ends, elections, commits, catching up."""
        for group in self._groups.values():
            self._end_removed(group)
            self._elect(group)
            if group.leader is None:
                continue
            while group.pending:
                group.pending.pop(0)()
            self._end_removed(group)
            for process, member in self._running(group):
                self._follow(group, process, member)

    def _first_start(self, process: Process, name: str, state: str, initial: list[str]) -> None:
        urls = [peer_url(other) for other in initial]
        remote = None if initial == [name] else self._remote(name, initial)
        if state == "existing":
            self._join(process, name, remote, urls)
            return
        bootstrapped = id_of(peer_url(name), "bootstrap")
        member = remote.member(bootstrapped) if remote else None
        if member is not None and member.client_url:
            _ended(process, 1, f"member {bootstrapped:x} {BOOTSTRAPPED}")
            return
        process.directory = self.disks[name] = Directory(self._bootstrapped(initial), bootstrapped)
        if remote is not None and member is None:
            _ended(process, 0, PERMANENTLY_REMOVED)

    def _bootstrapped(self, initial: list[str]) -> Group:
        identity = id_of("cluster", *sorted(initial))
        if identity not in self._groups:
            members = [
                Member(id_of(peer_url(name), "bootstrap"), peer_url(name), name) for name in sorted(initial)
            ]
            self._groups[identity] = Group(identity, members, leaderless_since=self._clock() - self._election)
        return self._groups[identity]

    def _remote(self, name: str, initial: list[str]) -> Group | None:
        """The cluster that the peers which run belong to."""
        for other in initial:
            process = self.processes.get(other)
            if other != name and process is not None and process.runs and process.directory is not None:
                return process.directory.group
        return None

    def _join(self, process: Process, name: str, remote: Group | None, urls: list[str]) -> None:
        if remote is None:
            _ended(process, 1, "cannot fetch cluster info from peer urls")
            return
        member = next((found for found in remote.members if found.peer_url == peer_url(name)), None)
        if member is None or {found.peer_url for found in remote.members} != set(urls):
            _ended(process, 1, UNEQUAL)
            return
        process.directory = self.disks[name] = Directory(remote, member.id)
        if member.id in remote.matched and remote.leader != member.id:
            _ended(process, 2, OUT_OF_RANGE)

    def _end_removed(self, group: Group) -> None:
        """Peers refuse a member that is not listed any more; it ends, and not as a failure."""
        for process in self.processes.values():
            directory = process.directory
            if directory is None or not process.runs or directory.group is not group:
                continue
            if directory.member_id in group.removed or group.member(directory.member_id) is None:
                _ended(process, 0, PERMANENTLY_REMOVED)

    def _elect(self, group: Group) -> None:
        running = {member.id: process for process, member in self._running(group) if not member.learner}
        has_quorum = len(running) >= len(group.voters) // 2 + 1
        if group.leader in running and has_quorum:
            return
        if group.leader is not None:
            group.leader, group.leaderless_since = None, self._clock()
        if has_quorum and self._clock() - group.leaderless_since >= self._election:
            self._lead(group, self._worst_winner(group, running))

    def _worst_winner(self, group: Group, running: dict[int, Process]) -> int:
        """The candidate with the shortest log that a quorum may still vote for."""
        length = {identity: _applied(process) for identity, process in running.items()}
        needed = len(group.voters) // 2 + 1
        winners = [
            candidate
            for candidate in sorted(running)
            if sum(length[other] <= length[candidate] for other in running) >= needed
        ]
        return min(winners, key=lambda candidate: length[candidate])

    def _lead(self, group: Group, identity: int) -> None:
        process = next(process for process, member in self._running(group) if member.id == identity)
        del group.log[_applied(process) :]
        group.leader, group.matched, group.term = identity, {identity}, group.term + 1

    def _follow(self, group: Group, process: Process, member: Member) -> None:
        name = next(name for name, found in self.processes.items() if found is process)
        if process.directory is not None:
            process.directory.applied = len(group.log)
        group.matched.add(member.id)
        member.name, member.client_url = name, client_url(name)

    def _running(self, group: Group) -> list[tuple[Process, Member]]:
        """The processes of listed members that answer."""
        found = []
        for process in self.processes.values():
            directory = process.directory
            if process.runs and directory is not None and directory.group is group:
                member = group.member(directory.member_id)
                if member is not None:
                    found.append((process, member))
        return found

    def _connected(self, group: Group, voter: Member) -> bool:
        """Whether a voter has been connected for long enough to count."""
        return any(
            member is voter and self._clock() - process.since >= self._settle
            for process, member in self._running(group)
        )

    def _group(self, via: str) -> Group:
        self.tick()
        process = self.processes.get(via)
        if process is None or not process.runs or process.directory is None:
            raise TimedOut(TIMED_OUT)
        return process.directory.group

    def _group_for_a_change(self, via: str) -> Group:
        group = self._group(via)
        if self._is_learner(via):
            raise Refused(NOT_FOR_LEARNERS)
        return group

    def _is_learner(self, via: str) -> bool:
        member = self._group(via).member(self.identity(via))
        return member is not None and member.learner

    def _commit(self, group: Group, apply: Callable[[], None]) -> None:
        if group.leader is None:
            group.pending.append(apply)
            raise TimedOut(TIMED_OUT)
        apply()
        self.tick()


def peer_url(name: str) -> str:
    """The peer URL of a member, as the lab writes it."""
    return f"https://{name}.kube-etcd:2380"


def client_url(name: str) -> str:
    """The client URL of a member."""
    return f"https://{name}.kube-etcd:2379"


def _ended(process: Process, code: int, said: str) -> None:
    process.code, process.said = code, said


def _applied(process: Process) -> int:
    return process.directory.applied if process.directory else 0
