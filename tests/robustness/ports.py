"""Ports for processes that start again on the port they had: while they are down, nobody else is to be given it.

The kernel takes the ports of outgoing connections, and what port 0 gives, from a range of its own; one of those can be
in use when its process comes back (https://docs.kernel.org/networking/ip-sysctl.html, ip_local_port_range).
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000
TRIES = 100


def reserve() -> socket.socket:
    """Listen on a port below that range, until the socket is closed for its process."""
    end = int(RANGE.read_text().split()[0])
    for _ in range(TRIES):
        try:
            return socket.create_server(("127.0.0.1", random.randrange(LOWEST, end)))  # noqa: S311 - no secret
        except OSError:
            continue
    raise OSError(f"no free port from {LOWEST} to {end}")
