"""Nodes without machines: pods run in a model of etcd (or as bare processes), and execs in a directory.

It plays the kubelets of many user clusters at once. A command acts whether its connection lives or not. What the
utility Pod runs is run for real, by /bin/sh in a temporary directory; `etcdctl` is the model's
(tests/robustness/etcdctl.py). A command that neither knows fails loudly with its text.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from lab.fixture.names import CERTIFICATES, DATA_DIRECTORY, REPLICAS
from lab.history import restart_count
from lab.judge import Sighting
from lab.kube_client import ApiError, Json, KubeClient
from tests.robustness import etcdctl
from tests.robustness.etcdctl import Answer, UnknownCommand
from tests.robustness.judge import Listed
from tests.robustness.membership import Directory, Etcd, Refused, TimedOut
from tests.robustness.proxy import NotRunning
from tests.robustness.user_cluster import FAILED, UTILITY, flag_in, is_ready

STDOUT, STDERR, STATUS = 1, 2, 3
SETTLE, ELECTION = 0.5, 0.05
TEND = 0.1
LONGEST_BACK_OFF = 8.0
SCRATCH = "/snapshot"
RAW = "surrogateescape"
SAVE = """#!/bin/sh
for file; do :; done
cp "${0%/*}/snapshot.db" "$file"
"""
SNAPSHOT_STATUS = """#!/bin/sh
echo '{"hash": 1, "revision": 2, "totalKey": 1, "totalSize": 4096}'
"""


class Disks(MutableMapping[str, Directory]):
    """The data directories as real ones, so that what wipes them is the real script; a running etcd locks its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, Directory] = {}
        self._locks: dict[str, int] = {}

    def path(self, name: str) -> Path:
        """The root of a replica's volume."""
        return self.root / name

    def __getitem__(self, name: str) -> Directory:
        try:
            return self._known[self._database(name).read_text()]
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, directory: Directory) -> None:
        database = self._database(name)
        database.parent.mkdir(parents=True, exist_ok=True)
        (self.path(name) / "member" / "wal").mkdir(exist_ok=True)
        token = uuid.uuid4().hex
        self._known[token] = directory
        database.write_text(token)

    def __delitem__(self, name: str) -> None:
        shutil.rmtree(self.path(name) / "member")

    def __iter__(self) -> Iterator[str]:
        return (name for name in REPLICAS if (self.path(name) / "member").is_dir())

    def __len__(self) -> int:
        return len(list(iter(self)))

    def lock(self, name: str) -> None:
        """As a running etcd does."""
        with suppress(FileNotFoundError):
            self._locks[name] = os.open(self._database(name), os.O_RDWR)
            fcntl.flock(self._locks[name], fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(self, name: str) -> None:
        """As an etcd that ends does."""
        if name in self._locks:
            os.close(self._locks.pop(name))

    def _database(self, name: str) -> Path:
        return self.path(name) / "member" / "snap" / "db"


@dataclass
class Running:
    """A pod that a node runs."""

    pod: Json
    restarts: int = 0
    back_off: float = 1.0
    again_at: float = 0.0
    reported: bool | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Its uid."""
        return str(self.pod["metadata"]["uid"])

    @property
    def seen(self) -> Sighting:
        """As it is now."""
        return Sighting(self.name, self.uid, restart_count(self.pod), deleted=False)


@dataclass
class Cluster(ABC):
    """One user cluster's etcd, its disks, and what was seen of its pods."""

    namespace: str
    disks: Disks
    pods: dict[str, Running] = field(default_factory=dict, init=False)
    sightings: list[Sighting] = field(default_factory=list, init=False)
    acknowledged: set[str] = field(default_factory=set, init=False)
    never_rejoins: bool = field(default=False, init=False)
    """The failed replica's container is not started any more."""

    @property
    @abstractmethod
    def removed(self) -> Sequence[str]:
        """The id of every member that was ever removed, as far as `members` has seen it."""

    @abstractmethod
    async def members(self) -> tuple[Listed, ...]:
        """The member list, in the order of the names."""

    @abstractmethod
    async def takes_writes(self) -> bool:
        """Whether a write that comes now is acknowledged."""

    @abstractmethod
    async def read(self) -> dict[str, frozenset[str]]:
        """What each member has that answers, asked of it alone."""

    @abstractmethod
    async def raise_alarm(self, name: str) -> None:
        """A member raises NOSPACE."""

    @abstractmethod
    def start(self, running: Running) -> None:
        """Start a member from its pod's own arguments."""

    @abstractmethod
    def stop(self, name: str) -> None:
        """End a member, by a signal that it cannot catch."""

    @abstractmethod
    def runs(self, name: str) -> bool:
        """Whether a member's process is alive."""

    @abstractmethod
    def damage(self, name: str) -> None:
        """Damage a member's directory, whose process has ended: it does not start from it any more."""

    @abstractmethod
    async def ctl(self, name: str, arguments: Sequence[str]) -> Answer:
        """Run `etcdctl` in a member's pod."""

    @abstractmethod
    def write(self) -> None:
        """Somebody writes."""

    @abstractmethod
    async def until_whole(self) -> None:
        """Wait until every member has joined."""

    @abstractmethod
    def tick(self) -> None:
        """Time has passed."""

    @abstractmethod
    async def close(self) -> None:
        """End what still runs."""


C = TypeVar("C", bound=Cluster)


@dataclass
class ModelCluster(Cluster):
    """An etcd that is a model."""

    etcd: Etcd = field(init=False)

    def __post_init__(self) -> None:
        self.etcd = Etcd(self.disks, settle=SETTLE, election=ELECTION)

    async def takes_writes(self) -> bool:
        """By one more."""
        before = len(self.acknowledged)
        self.write()
        return len(self.acknowledged) > before

    def write(self) -> None:
        """Somebody writes a key, by any member that takes it; only what is acknowledged counts."""
        key = f"key-{len(self.acknowledged):06d}"
        for name in REPLICAS:
            with suppress(Refused, TimedOut):
                self.etcd.put(name, key)
                self.acknowledged.add(key)
                return

    @property
    def removed(self) -> Sequence[str]:
        """By the model."""
        return [f"{identity:x}" for identity in self.etcd.removals]

    async def members(self) -> tuple[Listed, ...]:
        """By the first member."""
        group = self.etcd.view(REPLICAS[0])
        listed = (Listed(f"{member.id:x}", member.name, member.learner) for member in group.members)
        return tuple(sorted(listed, key=lambda member: (member.name, member.id)))

    async def raise_alarm(self, name: str) -> None:
        """By the model."""
        self.etcd.raise_alarm(name)

    async def read(self) -> dict[str, frozenset[str]]:
        """What each member's process has applied."""
        found = {}
        for name in REPLICAS:
            with suppress(TimedOut):
                found[name] = frozenset(self.etcd.keys(name))
        return found

    def start(self, running: Running) -> None:
        """Start it, and lock its directory as etcd does."""
        if self.never_rejoins and running.name == FAILED:
            return
        self.etcd.start(running.name, flag_in(running.pod["spec"]), REPLICAS)
        if self.etcd.processes[running.name].runs:
            self.disks.lock(running.name)

    def stop(self, name: str) -> None:
        """End it, and let go of its directory."""
        if name in self.etcd.processes:
            self.etcd.stop(name)
        self.disks.unlock(name)

    def runs(self, name: str) -> bool:
        """Whether the model says so."""
        process = self.etcd.processes.get(name)
        return process is not None and process.code is None

    def damage(self, name: str) -> None:
        """The model knows by which sign it does not start."""
        self.etcd.break_disk(name)

    async def ctl(self, name: str, arguments: Sequence[str]) -> Answer:
        """The model's own etcdctl."""
        return etcdctl.run(self.etcd, name, arguments)

    async def until_whole(self) -> None:
        """Members join as they start."""

    def tick(self) -> None:
        """Let the model notice it; whoever has ended by itself lets go of its directory."""
        self.etcd.tick()
        for name in self.etcd.processes:
            if not self.runs(name):
                self.disks.unlock(name)

    async def close(self) -> None:
        """Nothing of it outlives this process."""


class Nodes(Generic[C]):
    """All kubelets."""

    def __init__(
        self,
        client: KubeClient,
        certificates: dict[str, bytes],
        root: Path,
        cluster: Callable[[str, Disks], C],
    ) -> None:
        self.clusters: dict[str, C] = {}
        self._cluster = cluster
        self.unknown: list[str] = []
        """Commands that nobody here understands: a test fails on them."""
        self._client = client
        self._root = root
        self._certificates = root / "certificates"
        self._certificates.mkdir(parents=True)
        for name, content in certificates.items():
            (self._certificates / name).write_bytes(content)
        _etcd_tools(root / "bin")
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._keep(self._follow())
        self._keep(self._tend())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(cluster.close() for cluster in self.clusters.values()))

    def add(self, namespace: str) -> C:
        """Make room for a user cluster, before its objects are created."""
        cluster = self.clusters[namespace] = self._cluster(namespace, Disks(self._root / namespace))
        for replica in REPLICAS:
            cluster.disks.path(replica).mkdir(parents=True)
        return cluster

    async def retire(self, namespace: str) -> None:
        """End its processes, and look after it no more."""
        await self.clusters.pop(namespace).close()

    async def destroy(self, namespace: str) -> None:
        """Damage the failed replica's directory and end its process, and let it be seen."""
        cluster = self.clusters[namespace]
        cluster.stop(FAILED)
        cluster.damage(FAILED)
        await self._report(namespace, cluster.pods[FAILED])

    def _keep(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.unknown.append(repr(error))

    # Pods

    async def _follow(self) -> None:
        while True:
            async for kind, pod in self._client.watch("pods"):
                cluster = self.clusters.get(pod["metadata"]["namespace"])
                if cluster is not None:
                    _sight(cluster, kind, pod)
                    self._take(cluster, kind, pod)

    def _take(self, cluster: C, kind: str, pod: Json) -> None:
        name, uid, namespace = (pod["metadata"][key] for key in ("name", "uid", "namespace"))
        known = cluster.pods.get(name)
        if known is not None and known.uid == uid:
            known.pod = pod
        if kind == "DELETED" or "deletionTimestamp" in pod["metadata"]:
            if known is not None and known.uid == uid:
                del cluster.pods[name]
                cluster.stop(name)
            if kind != "DELETED":
                self._keep(self._remove(namespace, name, uid))
        elif pod["spec"].get("nodeName") and (known is None or known.uid != uid):
            running = cluster.pods[name] = Running(pod)
            if name in REPLICAS:
                cluster.start(running)
            self._keep(self._report(namespace, running))

    async def _remove(self, namespace: str, name: str, uid: str) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        with suppress(ApiError):  # gone already
            await self._client.delete("pods", name, namespace, options)

    async def _tend(self) -> None:
        """Notice processes that have ended, and start them again after a pause that grows."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(TEND)
            for namespace, cluster in self.clusters.items():
                cluster.tick()
                for running in list(cluster.pods.values()):
                    if running.name in REPLICAS and not cluster.runs(running.name):
                        self._restart(cluster, running, now())
                    if running.name in REPLICAS and running.reported != cluster.runs(running.name):
                        self._keep(self._report(namespace, running))

    def _restart(self, cluster: C, running: Running, now: float) -> None:
        if not running.again_at:
            running.again_at = now + running.back_off
        elif now >= running.again_at:
            running.back_off = min(2 * running.back_off, LONGEST_BACK_OFF)
            running.again_at = 0.0
            running.restarts += 1
            cluster.start(running)

    async def _report(self, namespace: str, running: Running) -> None:
        """Say of a pod that it runs, and whether it is Ready: as its local probe would."""
        cluster = self.clusters.get(namespace)
        if cluster is None:  # retired meanwhile
            return
        ready = cluster.runs(running.name) if running.name in REPLICAS else True
        running.reported = ready
        word = "True" if ready else "False"
        since = "2026-01-01T00:00:00Z"
        entry = {"status": word, "lastTransitionTime": since}
        state = {"running": {"startedAt": since}} if ready else {"waiting": {"reason": "CrashLoopBackOff"}}
        names = [item["name"] for item in running.pod["spec"]["containers"]]
        status = {
            "phase": "Running",
            "conditions": [{"type": kind, **entry} for kind in ("PodScheduled", "Ready", "ContainersReady")],
            "containerStatuses": [
                {
                    "name": name,
                    "ready": ready,
                    "restartCount": running.restarts,
                    "image": "",
                    "imageID": "",
                    "state": state,
                }
                for name in names
            ],
        }
        with suppress(ApiError):  # gone meanwhile
            await self._client.patch(
                "pods", running.name, {"status": status}, namespace, subresource="status"
            )

    # Exec

    async def execute(self, namespace: str, name: str, command: list[str]) -> dict[int, bytes]:
        """Run a command in a pod; its output, its errors and its Status."""
        cluster = self.clusters.get(namespace)
        if cluster is None or name not in cluster.pods:
            raise NotRunning(404)
        if name in REPLICAS and not cluster.runs(name):
            raise NotRunning(500)
        try:
            answer = await self._run(cluster, cluster.pods[name], command)
        except UnknownCommand as error:
            self.unknown.append(str(error))
            answer = Answer(stderr=f"the model knows no {error}", exit_code=127)
        status = json.dumps(_status(answer.exit_code)).encode()
        output, errors = (text.encode(errors=RAW) for text in (answer.stdout, answer.stderr))
        return {STDOUT: output, STDERR: errors, STATUS: status}

    async def _run(self, cluster: C, running: Running, command: list[str]) -> Answer:
        if command[0] == "etcdctl":
            return await cluster.ctl(running.name, command[1:])
        if command[0] == "cat":
            return self._read(command[1:])
        if running.name.startswith(UTILITY) and command[0] in ("/bin/sh", "sh"):
            return await self._shell(cluster, running, command)
        raise UnknownCommand(f"{' '.join(command)} in {running.name}")

    def _read(self, paths: list[str]) -> Answer:
        """The certificates, which every etcd pod mounts."""
        files = [Path(path.replace(CERTIFICATES, str(self._certificates))) for path in paths]
        there = "".join(file.read_text() for file in files if file.is_file())
        return Answer(there, exit_code=0 if all(file.is_file() for file in files) else 1)

    async def _shell(self, cluster: C, running: Running, command: list[str]) -> Answer:
        """Run a script of the utility Pod, with the pod's paths in place of the machine's."""
        scratch = self._root / "pods" / running.uid
        scratch.mkdir(parents=True, exist_ok=True)
        places = {
            DATA_DIRECTORY: str(cluster.disks.path(FAILED)),
            CERTIFICATES: str(self._certificates),
            SCRATCH: str(scratch),
        }
        for inside, outside in places.items():
            command = [word.replace(inside, outside) for word in command]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": f"{self._root}/bin:{os.environ['PATH']}", **_environment(running)},
        )
        output, errors = await process.communicate()
        return Answer(output.decode(errors=RAW), errors.decode(errors=RAW), process.returncode or 0)


def _etcd_tools(folder: Path) -> None:
    """What the utility Pod's scripts find on their PATH: a snapshot is always the same one, with its checksum."""
    folder.mkdir(parents=True)
    content = b"snapshot".ljust(4096, b".")
    (folder / "snapshot.db").write_bytes(content + hashlib.sha256(content).digest())
    for name, script in (("etcdctl", SAVE), ("etcdutl", SNAPSHOT_STATUS)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def _environment(running: Running) -> dict[str, str]:
    (container,) = running.pod["spec"]["containers"]
    given = {}
    for variable in container.get("env", ()):
        if "value" in variable:
            given[variable["name"]] = variable["value"]
        elif variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid":
            given[variable["name"]] = running.uid
    return given


def _sight(cluster: Cluster, kind: str, pod: Json) -> None:
    name = pod["metadata"]["name"]
    if name in REPLICAS:
        seen = Sighting(name, pod["metadata"]["uid"], restart_count(pod), deleted=kind == "DELETED")
        if seen not in cluster.sightings[-len(REPLICAS) :]:
            cluster.sightings.append(seen)


def _status(code: int) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": causes},
    }


def all_ready(cluster: Cluster) -> bool:
    """Whether every replica runs and says so."""
    return all(name in cluster.pods and is_ready(cluster.pods[name].pod) for name in REPLICAS)
