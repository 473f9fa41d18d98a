"""Two beds for the same tests of etcd: the model, and real processes on the loopback.

Both take `etcdctl` command lines, so that what the model says is compared down to the JSON. The real one runs with
short intervals and without fsync; TLS would change nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lab.binaries import etcd_folder
from lab.processes import Component
from tests.robustness import etcdctl, membership, ports
from tests.robustness.etcdctl import Answer
from tests.robustness.membership import Etcd

NAMES = ("kube-etcd-0", "kube-etcd-1", "kube-etcd-2")
END_WITHIN = 30.0
TIMEOUT = 3
A_QUESTION = 0.3


class Bed(Protocol):
    """Three members of one etcd, each with a directory."""

    poll: float
    """How long to wait before something is asked again."""

    async def start(
        self, name: str, state: str, initial: Sequence[str] = NAMES, quota: int | None = None
    ) -> None:
        """Start a member, by its flag and the names in `--initial-cluster`."""

    async def stop(self, name: str) -> None:
        """Kill it."""

    async def pause(self, name: str) -> None:
        """Stop it with a signal."""

    async def resume(self, name: str) -> None:
        """Let it go on."""

    async def wipe(self, name: str) -> None:
        """Empty its directory."""

    async def end_of(self, name: str) -> tuple[int, str]:
        """Wait until it has ended by itself; its exit code and what it said."""

    async def is_rejected(self, name: str) -> bool:
        """Whether its peers have refused it by now: it has ended, or runs without ever being served."""

    async def ctl(self, name: str, *arguments: str) -> Answer:
        """Run etcdctl against this member."""

    def peer_url(self, name: str) -> str:
        """Its peer URL."""

    async def close(self) -> None:
        """End everything."""


class ModelBed:
    """The model; its clock moves with each question, so that nothing is waited for."""

    poll = 0.0

    def __init__(self) -> None:
        self._now = 0.0
        self._etcd = Etcd(clock=lambda: self._now)

    async def start(
        self, name: str, state: str, initial: Sequence[str] = NAMES, quota: int | None = None
    ) -> None:
        self._etcd.start(name, state, initial, quota=quota)

    async def stop(self, name: str) -> None:
        self._etcd.stop(name)

    async def pause(self, name: str) -> None:
        self._etcd.pause(name)

    async def resume(self, name: str) -> None:
        self._etcd.resume(name)

    async def wipe(self, name: str) -> None:
        self._etcd.wipe(name)

    async def end_of(self, name: str) -> tuple[int, str]:
        self._etcd.tick()
        process = self._etcd.processes[name]
        assert process.code is not None, f"{name} runs on"
        return process.code, process.said

    async def is_rejected(self, name: str) -> bool:
        self._etcd.tick()
        return self._etcd.processes[name].code == 0

    async def ctl(self, name: str, *arguments: str) -> Answer:
        self._now += A_QUESTION
        return etcdctl.run(self._etcd, name, arguments)

    def peer_url(self, name: str) -> str:
        return membership.peer_url(name)

    async def close(self) -> None:
        return None


class RealBed:
    """Real processes on free ports."""

    poll = 0.1

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._binaries = etcd_folder()
        self._reserved = [ports.reserve() for _ in range(2 * len(NAMES))]
        numbers = [reserved.getsockname()[1] for reserved in self._reserved]
        self._clients = dict(zip(NAMES, numbers[: len(NAMES)], strict=True))
        self._peers = dict(zip(NAMES, numbers[len(NAMES) :], strict=True))
        self._processes: dict[str, Component] = {}

    async def start(
        self, name: str, state: str, initial: Sequence[str] = NAMES, quota: int | None = None
    ) -> None:
        self._free(name)
        client, peer = f"http://127.0.0.1:{self._clients[name]}", self.peer_url(name)
        flags: dict[str, object] = {
            "name": name,
            "data-dir": self._data(name),
            "initial-cluster-state": state,
            "initial-cluster": ",".join(f"{other}={self.peer_url(other)}" for other in initial),
            "initial-cluster-token": "bed",
            "initial-advertise-peer-urls": peer,
            "listen-peer-urls": peer,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "heartbeat-interval": 20,
            "election-timeout": 200,
        }
        if quota is not None:
            flags["quota-backend-bytes"] = quota
        command: list[str | Path] = [self._binaries / "etcd", "--unsafe-no-fsync"]
        command += [f"--{flag}={value}" for flag, value in flags.items()]
        process = self._processes[name] = Component(name, command, directory=self._directory)
        process.log.unlink(missing_ok=True)
        await process.start()

    async def stop(self, name: str) -> None:
        await self._processes[name].kill()

    async def pause(self, name: str) -> None:
        self._processes[name].pause()

    async def resume(self, name: str) -> None:
        self._processes[name].resume()

    async def wipe(self, name: str) -> None:
        shutil.rmtree(self._data(name) / "member")

    async def end_of(self, name: str) -> tuple[int, str]:
        process = self._processes[name]
        async with asyncio.timeout(END_WITHIN):
            await process.wait()
        assert process.exit_code is not None
        return process.exit_code, process.log.read_text(errors="replace")

    async def is_rejected(self, name: str) -> bool:
        process = self._processes[name]
        said = process.log.read_text(errors="replace")
        return process.exit_code == 0 or "failed to find remote peer in cluster" in said

    async def ctl(self, name: str, *arguments: str) -> Answer:
        endpoint = f"--endpoints=http://127.0.0.1:{self._clients[name]}"
        limits = [f"--command-timeout={TIMEOUT}s", f"--dial-timeout={TIMEOUT}s"]
        process = await asyncio.create_subprocess_exec(
            self._binaries / "etcdctl",
            endpoint,
            *limits,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return Answer(output.decode(), errors.decode(), process.returncode or 0)

    def peer_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._peers[name]}"

    async def close(self) -> None:
        for reserved in self._reserved:
            reserved.close()
        await asyncio.gather(*(process.kill() for process in self._processes.values()))

    def _data(self, name: str) -> Path:
        return self._directory / f"{name}.data"

    def _free(self, name: str) -> None:
        """Let go of the member's two ports, which were reserved so that all six differ."""
        mine = (self._clients[name], self._peers[name])
        for reserved in [one for one in self._reserved if one.getsockname()[1] in mine]:
            self._reserved.remove(reserved)
            reserved.close()
