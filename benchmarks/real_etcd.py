"""Real etcd for a small fleet: three bare processes for each user cluster, on free ports of the loopback.

They have neither TLS nor fsync, and begin without pods' addresses: what they add to the model of the larger fleets is
etcd's own time and what `etcdctl` costs as a process.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.binaries import etcd_folder
from lab.fixture.names import REPLICAS
from lab.processes import die_with_parent
from replace_etcd.etcd import parse_members, parse_status
from tests.robustness.etcdctl import Answer, Arguments, asked
from tests.robustness.membership import client_url
from tests.robustness.nodes import Cluster, Running
from tests.robustness.user_cluster import flag_in

WHOLE_WITHIN = 60.0
POLL = 0.2
OURS = ("--endpoints=", "--cacert=", "--cert=", "--key=")
"""What `etcdctl` is told in a pod, and needs otherwise here."""


@dataclass
class RealCluster(Cluster):
    """Three members, by the names of their pods."""

    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._binaries = etcd_folder()
        # Kept until the member starts, so that no two clusters are given the same ports.
        self._reserved = {
            name: [socket.create_server(("127.0.0.1", 0)) for _ in range(2)] for name in REPLICAS
        }
        self._ports = {
            name: [one.getsockname()[1] for one in sockets] for name, sockets in self._reserved.items()
        }

    def start(self, running: Running) -> None:
        """Start it with the flag of its pod."""
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
        """Nobody writes: a process for each request of the worker would be what is measured."""

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

    def close(self) -> None:
        """Kill all of them."""
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
