"""Exec sessions over a WebSocket, with the channels and the final Status of a kubelet.

Channel 0 is standard input, 1 and 2 the outputs, 3 the Status, 4 the terminal's size; in `v5.channel.k8s.io` a
message on 255 closes a channel. The only sign of a finished command is the Status. When the connection drops, the
command goes on in the container: its output is read and thrown away.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import struct
import termios
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from lab.nodes.launcher import Process, StartFailed
from lab.nodes.records import Json, PodRecord
from lab.nodes.runtime import Runtime

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
CHUNK = 32 * 1024


def success() -> Json:
    """The Status of a command that exited with 0."""
    return {"metadata": {}, "status": "Success"}


def non_zero(exit_code: int) -> Json:
    """The Status of a command that ended otherwise; only the cause carries the code."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


def not_started(message: str) -> Json:
    """The Status of a command that could not be executed: no cause with an exit code."""
    text = f"error executing command in container: failed to exec in container: {message}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {text}",
        "reason": "InternalError",
        "details": {"causes": [{"message": text}]},
        "code": 500,
    }


@dataclass(frozen=True)
class Request:
    """What one exec asks for."""

    record: PodRecord
    container: str
    argv: list[str]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class RemoteCommand:
    """One exec: a process in the container, and a WebSocket that may go away before it."""

    def __init__(self, request: Request, runtime: Runtime, socket: web.WebSocketResponse) -> None:
        self._request = request
        self._runtime = runtime
        self._socket = socket
        self._input: asyncio.WriteTransport | None = None
        self._terminal: int | None = None
        self._pumps: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Run the command to its end and report it, to whoever still listens."""
        await self._send(STDOUT, b"")  # as a kubelet does: the client learns that the connection stands
        try:
            process = await (self._start_in_terminal() if self._request.tty else self._start())
        except StartFailed as error:
            await self._close_with(not_started(str(error)))
            return
        listening = asyncio.create_task(self._listen())
        exit_code = await process.wait()
        await asyncio.gather(*self._pumps)
        listening.cancel()
        await self._close_with(non_zero(exit_code) if exit_code else success())

    async def _start(self) -> Process:
        outputs = [
            (channel, os.pipe())
            for channel, wanted in ((STDOUT, self._request.stdout), (STDERR, self._request.stderr))
            if wanted
        ]
        inputs = os.pipe() if self._request.stdin else None
        ends = {channel: pipe[1] for channel, pipe in outputs}
        given = [*ends.values(), *([inputs[0]] if inputs else [])]
        try:
            process = await self._execute(
                inputs[0] if inputs else asyncio.subprocess.DEVNULL,
                ends.get(STDOUT, asyncio.subprocess.DEVNULL),
                ends.get(STDERR, asyncio.subprocess.DEVNULL),
            )
        finally:
            _close(given)
            for channel, (reading, _) in outputs:
                self._pumps.append(asyncio.create_task(self._pump(reading, channel)))
            if inputs:
                self._input = await _writer(inputs[1])
        return process

    async def _start_in_terminal(self) -> Process:
        ours, theirs = pty.openpty()
        try:
            process = await self._execute(theirs, theirs, theirs)
        except StartFailed:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._terminal = ours
        self._input = await _writer(os.dup(ours))
        self._pumps.append(asyncio.create_task(self._pump(ours, STDOUT)))
        return process

    async def _execute(self, stdin: int, stdout: int, stderr: int) -> Process:
        wanted = self._request
        return await self._runtime.execute(
            wanted.record,
            wanted.container,
            wanted.argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            tty=wanted.tty,
        )

    async def _pump(self, descriptor: int, channel: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb", 0))
        with suppress(OSError):  # a terminal ends with EIO
            while data := await reader.read(CHUNK):
                await self._send(channel, data)
        transport.close()

    async def _listen(self) -> None:
        """Take input from the client; its going away changes nothing for the command."""
        async for message in self._socket:
            if message.type is WSMsgType.BINARY and message.data:
                self._received(message.data[0], message.data[1:])

    def _received(self, channel: int, data: bytes) -> None:
        if channel == STDIN and self._input is not None and data:
            self._input.write(data)
        elif channel == CLOSE and data[:1] == bytes([STDIN]) and self._input is not None:
            self._input.close()
            self._input = None
        elif channel == RESIZE and self._terminal is not None:
            size = json.loads(data)
            packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)

    async def _close_with(self, status: Json) -> None:
        if self._input is not None:
            self._input.close()
        await self._send(STATUS, json.dumps(status).encode())
        with suppress(ConnectionError, RuntimeError):
            await self._socket.close()

    async def _send(self, channel: int, data: bytes) -> None:
        if not self._socket.closed:
            with suppress(ConnectionError, RuntimeError):
                await self._socket.send_bytes(bytes([channel]) + data)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


async def _writer(descriptor: int) -> asyncio.WriteTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(descriptor, "wb", 0))
    return transport
