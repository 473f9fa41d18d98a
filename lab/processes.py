"""Child processes that never outlive their parent, ended by pid only.

Every process of a lab runs in a session of its own (a Ctrl-C in the terminal reaches the runner, which
decides what to end and in which order) and is killed by the kernel when its parent dies, so that a runner
ended by `kill -9` leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask the kernel, in the child before it executes, for SIGKILL when the parent ends."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Component:
    """One long-running program with its log file; it can be started again, paused and resumed."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._argv = [str(word) for word in argv]
        self._directory = directory
        self._environment = dict(environment or {})
        self._pass_fds = tuple(pass_fds)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """How it ended (a signal as a negative number); None while it runs, or where it never started."""
        return self._process.returncode if self._process is not None else None

    async def start(self) -> None:
        """Start it, unless it runs; the log is appended to."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env={**os.environ, **self._environment},
                pass_fds=self._pass_fds,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, by pid; nothing happens when it has ended."""
        if self._process is not None and self.running:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def pause(self) -> None:
        """Freeze it: it keeps its sockets and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it at once, as a crash does."""
        self.signal(signal.SIGKILL)
        await self.wait()

    async def stop(self, grace: float = 2.0) -> None:
        """Ask it to end, and end it when it takes longer than its grace."""
        self.signal(signal.SIGTERM)
        self.resume()
        try:
            await asyncio.wait_for(self.wait(), grace)
        except TimeoutError:
            await self.kill()

    async def wait(self) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            await self._process.wait()

    def last_words(self, lines: int = 5) -> str:
        """Return the end of its log, for an error message."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
