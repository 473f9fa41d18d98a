"""Joins a listening socket of the host to the API server inside the lab's network namespace.

A socket stays in the network namespace that it was created in. So the runner creates the listening one on the
host's loopback and hands it down, and no process and no route of the lab is needed on the host.
"""

from __future__ import annotations

import asyncio
import socket

from lab.nodes.tasks import cancelled

CHUNK = 256 * 1024


class Relay:
    """Copies bytes both ways, for as many connections as come."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener = listener
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._serve, sock=self._listener)

    async def stop(self) -> None:
        """Accept no more."""
        if self._server is not None:
            self._server.close()
        await cancelled(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._join(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:  # the API server is down: what a client would see without us
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
        writer.close()
        other_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To its end; one that breaks off is broken off on the other side: the API server was killed, and is not silent."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()
