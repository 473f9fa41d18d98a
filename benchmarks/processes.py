"""The worker as a process of its own, and what the kernel says of it."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from lab.processes import Component

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


def worker(directory: Path, temporal: str, kubeconfig: Path, queue: str, **settings: object) -> Component:
    """`python worker.py`, with settings of its own and none of the caller's TEMPORAL_*."""
    spec = find_spec("worker")
    assert spec is not None, "run the benchmarks in a checkout"  # noqa: S101
    foreign = [name for name in os.environ if name.startswith("TEMPORAL_")]
    command: list[str | Path] = ["env", *(word for name in foreign for word in ("-u", name))]
    own: dict[str, object] = {
        "TEMPORAL_ADDRESS": temporal,
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "KUBECONFIG": kubeconfig,
        "REPLACE_ETCD_TASK_QUEUE": queue,
        "REPLACE_ETCD_LOG_FORMAT": "json",
        "TMPDIR": directory,
    }
    own |= {f"REPLACE_ETCD_{name.upper()}": value for name, value in settings.items()}
    command += [f"{name}={value}" for name, value in own.items()]
    return Component("worker", [*command, sys.executable, str(spec.origin)], directory=directory)


def memory_mib(pid: int, line: str = "VmRSS") -> float:
    """What a process holds in memory now, or (`VmHWM`) held at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(text for text in lines if text.startswith(f"{line}:")).split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
