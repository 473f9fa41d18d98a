"""The pod network of the lab: a bridge that all nodes and pods share, inside the lab's own network namespace.

It plays the CNI plug-in. As on a real cluster every pod has an address and a loopback of its own, and a pod that
is created again gets a new address. Nothing is routed: neither pods nor nodes can be reached from the host.
"""

from __future__ import annotations

import asyncio
import itertools
from ipaddress import IPv4Address, IPv4Network

from lab.binaries import system_program
from lab.nodes import commands

BRIDGE = "lab0"
POD_NETWORK = IPv4Network("10.244.0.0/16")
GATEWAY = POD_NETWORK[1]
NODE_NETWORK = IPv4Network("192.168.77.0/24")


class Sandbox:
    """A pod's network namespace, held open by a process that only sleeps (Kubernetes calls it `pause`)."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, link: str) -> None:
        self.process = process
        self.address = address
        self.link = link

    @property
    def network(self) -> str:
        """The path by which others enter the network namespace."""
        return f"/proc/{self.process.pid}/ns/net"


class PodNetwork:
    """Creates and removes the network namespaces of pods."""

    def __init__(self) -> None:
        self._ip = str(system_program("ip"))
        self._unshare = str(system_program("unshare"))
        self._nsenter = str(system_program("nsenter"))
        self._numbers = itertools.count(10)

    async def start(self, nodes: int) -> list[str]:
        """Create the bridge with the gateway's address and one per node; return the nodes' addresses."""
        addresses = [str(NODE_NETWORK[10 + number]) for number in range(1, nodes + 1)]
        lines = ["link set lo up", f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up"]
        lines.append(f"addr add {GATEWAY}/{POD_NETWORK.prefixlen} dev {BRIDGE}")
        lines += [f"addr add {address}/{NODE_NETWORK.prefixlen} dev {BRIDGE}" for address in addresses]
        lines.append(f"route add default dev {BRIDGE}")  # leads nowhere; a real API server wants to see one
        await self._batch(lines)
        return addresses

    async def create(self) -> Sandbox:
        """Create a network namespace with a loopback and an address that no pod had before."""
        number = next(self._numbers)
        address, link = self._address(number), f"pod{number}"
        pause = await asyncio.create_subprocess_exec(
            self._unshare,
            "--net",
            "sh",
            "-c",
            "echo ready; exec sleep infinity",
            stdout=asyncio.subprocess.PIPE,
        )
        assert pause.stdout is not None  # noqa: S101 - a pipe was asked for
        await pause.stdout.readline()
        await self._batch(
            [
                f"link add {link} type veth peer name eth0 netns {pause.pid}",
                f"link set {link} master {BRIDGE} up",
            ]
        )
        await self._batch(self._inside(address), self._nsenter, f"--net=/proc/{pause.pid}/ns/net")
        return Sandbox(pause, str(address), link)

    async def remove(self, sandbox: Sandbox) -> None:
        """Take the link away and let the namespace go; idempotent."""
        if sandbox.process.returncode is None:
            sandbox.process.kill()
            await sandbox.process.wait()
        try:
            await self._batch([f"link del {sandbox.link}"])
        except commands.CommandFailed:  # the kernel took it away with the namespace
            return

    async def set_link(self, sandbox: Sandbox, *, up: bool) -> None:
        """Cut the pod off from everybody, its node included, or connect it again."""
        await self._batch([f"link set {sandbox.link} {'up' if up else 'down'}"])

    async def set_route(self, sandbox: Sandbox, address: str, *, cut: bool) -> None:
        """Let what the pod sends to an address go nowhere; without `cut` it reaches every address again."""
        line = f"route replace blackhole {address}" if cut else "route flush type blackhole"
        await self._batch([line], self._nsenter, f"--net={sandbox.network}")

    def _address(self, number: int) -> IPv4Address:
        return POD_NETWORK[number]

    def _inside(self, address: IPv4Address) -> list[str]:
        return [
            "link set lo up",
            f"addr add {address}/{POD_NETWORK.prefixlen} dev eth0",
            "link set eth0 up",
            f"route add default via {GATEWAY}",
        ]

    async def _batch(self, lines: list[str], *prefix: str) -> None:
        await commands.run(*prefix, self._ip, "-batch", "-", feed="\n".join(lines) + "\n")
