"""Starts a lab in namespaces of its own and takes it down again: the host's side.

On the host there is only this process, the directory with a kubeconfig, and one listening socket on the loopback.
The lab ends with the runner however that ends: its first process holds a pipe from here.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from lab.binaries import system_program
from lab.client import LabClient, LabError
from lab.layout import Layout
from lab.options import LabOptions

ISOLATION = ("--pid", "--fork", "--kill-child", "--mount", "--net", "--mount-proc")
MAP_ROOT = ("--user", "--map-root-user")
PROBE = "ip link add probe0 type bridge && ip link add probe1 type veth peer name probe2 && mount -t tmpfs probe /tmp"
END_WITHIN = 15.0

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    return None


async def isolation() -> list[str]:
    """The `unshare` command that works here: as root, else in a user namespace; or one sentence why not."""
    unshare = str(system_program("unshare"))
    system_program("ip")
    prefixes = [(), MAP_ROOT] if os.geteuid() == 0 else [MAP_ROOT]
    refusal = ""
    for prefix in prefixes:
        command = [unshare, *prefix, *ISOLATION]
        refusal = await _refusal(command)
        if not refusal:
            return command
    raise LabError(
        f"the lab needs namespaces, which are not permitted here (unshare {' '.join((*prefixes[-1], *ISOLATION))}:"
        f" {refusal}); run it as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1,"
        " kernel.apparmor_restrict_unprivileged_userns=0), or give the container CAP_SYS_ADMIN"
    )


async def _refusal(command: list[str]) -> str:
    """What the machine says to a trial of all the lab needs; nothing if it works."""
    sbin = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"}
    trial = await asyncio.create_subprocess_exec(
        *command,
        "sh",
        "-c",
        PROBE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=sbin,
    )
    _, errors = await trial.communicate()
    return (
        ""
        if trial.returncode == 0
        else (errors.decode(errors="replace").strip() or "refused").splitlines()[-1]
    )


@asynccontextmanager
async def running_lab(
    options: LabOptions, directory: Path | None = None, *, progress: Progress = _silent
) -> AsyncIterator[LabClient]:
    """Run a lab while the block runs; without a directory it is a temporary one, and nothing is left of it."""
    command = await isolation()
    with _directory(directory) as place, _claimed(place) as claim:
        layout = Layout(place.resolve())
        layout.remove()  # what a lab that was killed together with its runner could not remove
        lab = _Lab(layout, claim)
        try:
            await lab.start(command, options, progress)
            async with LabClient(layout.directory) as client:
                yield client
        finally:
            await lab.stop()


def _importable_environment() -> dict[str, str]:
    """The lab's processes import this very lab, from wherever it was started."""
    here = str(Path(__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


@contextmanager
def _directory(directory: Path | None) -> Iterator[Path]:
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="lab-") as temporary:
            yield Path(temporary)
        return
    existed = directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield directory
    finally:
        if not existed:
            with suppress(OSError):
                directory.rmdir()


@contextmanager
def _claimed(directory: Path) -> Iterator[int]:
    """Hold the directory for one lab; its supervisor inherits the lock, so it is held until all has ended."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        raise LabError(f"a lab runs in {directory} already; take another directory, or end it") from None
    finally:
        os.close(descriptor)


class _Lab:
    """The process tree of one lab, seen from the host."""

    def __init__(self, layout: Layout, claim: int) -> None:
        self._layout = layout
        self._claim = claim
        self._lifeline: int | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, command: list[str], options: LabOptions, progress: Progress) -> None:
        """Start it and wait until it is whole."""
        reading, self._lifeline = os.pipe()
        report_reading, report = os.pipe()
        listener = socket.create_server(("127.0.0.1", 0))
        descriptors = (reading, report, listener.fileno())
        words = [*map(str, descriptors), str(self._layout.directory), options.model_dump_json()]
        try:
            with self._layout.log.open("wb") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    sys.executable,
                    "-m",
                    "lab.init",
                    *words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_importable_environment(),
                    pass_fds=(*descriptors, self._claim),
                    start_new_session=True,
                )
        finally:
            listener.close()
            os.close(reading)
            os.close(report)
        await self._until_ready(report_reading, progress)

    async def _until_ready(self, descriptor: int, progress: Progress) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb", 0))
        try:
            async for line in reader:
                message = json.loads(line)
                if "ready" in message:
                    return
                if "error" in message:
                    raise LabError(f"the lab did not start: {message['error']}")
                progress(message["progress"])
        finally:
            transport.close()
        raise LabError(f"the lab ended before it was ready:\n{self._last_words()}")

    async def stop(self) -> None:
        """Let go of the lifeline, wait for the end, and remove what is left."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), END_WITHIN)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._layout.remove()

    def _last_words(self, lines: int = 15) -> str:
        return "\n".join(self._layout.log.read_text(errors="replace").splitlines()[-lines:])
