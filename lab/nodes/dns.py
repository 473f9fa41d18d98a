"""The cluster DNS: names of Services and of the pods behind headless ones, answered from the pods that run now.

It plays CoreDNS. etcd needs it twice: peers find each other as `kube-etcd-N.kube-etcd`, and accept a peer's
certificate only when one of its names resolves to the address that the connection came from. There is no cache, so
a pod that was created again is found under its new address at once.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import cast

A, PTR, AAAA, IN = 1, 12, 28, 1
NO_ERROR, NO_SUCH_NAME = 0, 3
RESPONSE_AUTHORITATIVE = 0x8580
TIME_TO_LIVE = 1
HEADER = struct.Struct("!HHHHHH")

Resolve = Callable[[str, str], list[str] | None]
"""Addresses of a lower-case name without its final dot, for an asker's address; None if the name is unknown."""


def parse_question(packet: bytes) -> tuple[str, int, bytes]:
    """Return the name asked for, its type, and the question section as it stands."""
    labels, position = [], HEADER.size
    while (length := packet[position]) != 0:
        labels.append(packet[position + 1 : position + 1 + length].decode("ascii"))
        position += 1 + length
    (kind,) = struct.unpack_from("!H", packet, position + 1)
    return ".".join(labels), kind, packet[HEADER.size : position + 5]


def encode_name(name: str) -> bytes:
    """Encode a name as DNS labels."""
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"


def answer(packet: bytes, resolve: Resolve, reverse: Resolve, asker: str = "") -> bytes:
    """Answer one query; the reply to a PTR query is a list of names instead of addresses."""
    (identifier,) = struct.unpack_from("!H", packet)
    name, kind, question = parse_question(packet)
    found = (reverse if kind == PTR else resolve)(name.lower(), asker)
    records = [_record(kind, value) for value in found or []] if kind in (A, PTR) else []
    code = NO_SUCH_NAME if found is None else NO_ERROR
    header = HEADER.pack(identifier, RESPONSE_AUTHORITATIVE | code, 1, len(records), 0, 0)
    return header + question + b"".join(records)


def _record(kind: int, value: str) -> bytes:
    data = encode_name(value) if kind == PTR else IPv4Address(value).packed
    pointer_to_question = b"\xc0\x0c"
    return pointer_to_question + struct.pack("!HHIH", kind, IN, TIME_TO_LIVE, len(data)) + data


def address_of_reverse_name(name: str) -> str | None:
    """Turn `3.0.244.10.in-addr.arpa` into `10.244.0.3`."""
    digits, _, suffix = name.partition(".in-addr")
    if suffix != ".arpa":
        return None
    return ".".join(reversed(digits.split(".")))


class DnsServer(asyncio.DatagramProtocol):
    """The server's socket; the names come from whoever knows the pods."""

    def __init__(self, resolve: Resolve, reverse: Resolve) -> None:
        self._resolve = resolve
        self._reverse = reverse
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, address: str, port: int = 53) -> None:
        """Listen on an address of the lab."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(address, port))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket, to answer by it."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer, unless the packet is no query at all."""
        try:
            reply = answer(data, self._resolve, self._reverse, addr[0])
        except (IndexError, struct.error, UnicodeDecodeError):
            return
        if self._transport is not None:
            self._transport.sendto(reply, addr)

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()
