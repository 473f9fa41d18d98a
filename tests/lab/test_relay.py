"""What a client sees of an API server inside the lab is what it would see without the relay between them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from lab.relay import Relay

WITHIN = 10.0
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER without a second: the close is a reset, as when a process is killed that had not read everything."""


@asynccontextmanager
async def relayed(
    server: asyncio.Server,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the server through a relay."""
    listener = socket.create_server(("127.0.0.1", 0))
    relay = Relay(listener, server.sockets[0].getsockname()[1])
    await relay.start()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        await relay.stop()
        server.close()


async def test_a_server_that_is_killed_is_not_silent() -> None:
    async def killed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        writer.close()

    async with relayed(await asyncio.start_server(killed, "127.0.0.1", 0)) as (reader, writer):
        writer.write(b"a request\n")
        with suppress(ConnectionResetError):  # or a plain end
            assert await asyncio.wait_for(reader.read(), WITHIN) == b""


async def test_a_server_that_ends_well_has_said_all() -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async with relayed(await asyncio.start_server(answers, "127.0.0.1", 0)) as (reader, writer):
        writer.write(b"a request\n")
        assert await asyncio.wait_for(reader.read(), WITHIN) == b"a request\n"
