"""Runs one short command of the base system to its end."""

from __future__ import annotations

import asyncio


class CommandFailed(Exception):
    """A command of the base system ended with an error; its words are the message."""


async def run(*argv: str, feed: str = "") -> str:
    """Run a command with a text on its standard input and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(feed.encode())
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)}: {errors.decode(errors='replace').strip()}")
    return output.decode()
