"""The first process of a lab's PID namespace: when it ends, the kernel ends every other process of the lab.

It starts the supervisor, reaps orphans, and ends with the supervisor, or some seconds after the runner's end of the
lifeline has closed, which also happens when the runner is killed. It imports nothing of the lab.
"""

from __future__ import annotations

import os
import select
import signal
import sys

PATIENCE_SECONDS = 10


def main() -> int:
    """Run `python -m lab.supervisor` with this program's arguments; the first is the lifeline's descriptor."""
    lifeline = int(sys.argv[1])
    wake_up, wake_up_writer = os.pipe()
    os.set_blocking(wake_up_writer, False)
    signal.set_wakeup_fd(wake_up_writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    words = [sys.executable, "-m", "lab.supervisor", *sys.argv[1:]]
    supervisor = os.posix_spawn(sys.executable, words, os.environ)
    return _watch(supervisor, lifeline, wake_up)


def _watch(supervisor: int, lifeline: int, wake_up: int) -> int:
    waiting_for, timeout = [lifeline, wake_up], None
    while True:
        ready, _, _ = select.select(waiting_for, [], [], timeout)
        if not ready:
            return 1
        if wake_up in ready:
            os.read(wake_up, 4096)
        if lifeline in ready and not os.read(lifeline, 1):
            waiting_for, timeout = [wake_up], PATIENCE_SECONDS
            os.kill(supervisor, signal.SIGTERM)
        ended = _reap(supervisor)
        if ended is not None:
            return ended


def _reap(supervisor: int) -> int | None:
    """Reap whoever has ended; return the supervisor's exit code if it was among them."""
    result = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return result
        if pid == 0:
            return result
        if pid == supervisor:
            result = os.waitstatus_to_exitcode(status) & 0x7F


if __name__ == "__main__":
    sys.exit(main())
