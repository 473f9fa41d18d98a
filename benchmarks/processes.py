"""What the kernel says of a process."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, line: str = "VmRSS") -> float:
    """What a process holds in memory now, or (`VmHWM`) held at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(text for text in lines if text.startswith(f"{line}:")).split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
