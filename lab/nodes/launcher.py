"""Starts processes inside namespaces and learns how they end. It plays containerd's shim.

A started process belongs to a container's PID namespace, while its exit status belongs to us: the supervisor is a
child subreaper, so whatever the short-lived `container_init` leaves behind becomes the supervisor's own child.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

PR_SET_CHILD_SUBREAPER = 36
SCRIPT = Path(__file__).with_name("container_init.py")

Stream = int | IO[bytes]


class StartFailed(Exception):
    """The process could not be started: no such program, or a mount or namespace was refused."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True)
class Mount:
    """A directory of the lab, bound into a container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class ContainerProcess:
    """The first process of a container: its namespaces, its root and what it runs."""

    network: str
    hostname: str
    root: str
    argv: list[str]
    env: dict[str, str]
    cwd: str = "/"
    files: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)
    tty: bool = False


@dataclass(frozen=True)
class ExecProcess:
    """Another process in the namespaces of a running container."""

    target: int
    argv: list[str]
    env: dict[str, str]
    cwd: str = "/"
    tty: bool = False


def become_subreaper() -> None:
    """Let orphans of this process's children become its own children, so that their exit status is seen."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Process:
    """A process in a container, known by its pid in the lab's PID namespace."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self._ended = asyncio.Event()
        self._descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._reap)

    @property
    def running(self) -> bool:
        """Whether it has not ended; a stopped process runs."""
        return self.exit_code is None

    async def wait(self) -> int:
        """Wait for the end and return the exit code as a shell tells it: 128 and the signal for a kill."""
        await self._ended.wait()
        assert self.exit_code is not None  # noqa: S101 - set before the event
        return self.exit_code

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        result = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED)
        os.close(self._descriptor)
        status = result.si_status if result is not None else 0
        killed = result is not None and result.si_code != os.CLD_EXITED
        self.exit_code = 128 + status if killed else status
        self._ended.set()


async def launch(
    wanted: ContainerProcess | ExecProcess,
    *,
    stdin: Stream = asyncio.subprocess.DEVNULL,
    stdout: Stream = asyncio.subprocess.DEVNULL,
    stderr: Stream = asyncio.subprocess.DEVNULL,
) -> Process:
    """Start a process inside its namespaces; it executes its program when this returns."""
    reading, writing = os.pipe()
    specification = {**asdict(wanted), "status": writing}
    try:
        helper = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(SCRIPT),
            json.dumps(specification),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=[writing],
        )
    finally:
        os.close(writing)
    report = await _read_to_end(reading)
    await helper.wait()
    return await _started(report)


async def _started(report: bytes) -> Process:
    lines = report.decode().splitlines()
    process = Process(int(lines[0])) if lines and lines[0].isdigit() else None
    failures = [json.loads(line) for line in lines if line.startswith("{")]
    if process is not None and not failures:
        return process
    if process is not None:
        await process.wait()
    if not failures:
        raise StartFailed(0, "the process helper ended without a word")
    raise StartFailed(failures[0]["errno"], failures[0]["message"])


async def _read_to_end(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", 0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return await reader.read()
    finally:
        transport.close()
