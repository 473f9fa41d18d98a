"""Runs a command's coroutine so that whatever ends it, it ends in order.

A Ctrl-C (or SIGTERM, or a terminal that closes) cancels the work once; what the work has opened is closed by its own
`finally`s, which a second Ctrl-C does not disturb; a third ends at once, and the kernel ends what was started. Errors
become one sentence and an exit code.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Coroutine
from typing import Any

import typer

from replace_etcd.cli.exits import CliError, complain

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Coroutine[Any, Any, int], *, farewell: str = "interrupted") -> None:
    """Run it to its end and exit with the code that it returns."""
    import asyncio  # noqa: PLC0415 - so that --help answers at once

    try:
        code = asyncio.run(_until_ended(work, farewell))
    except CliError as error:
        complain(error.sentence)
        code = error.code
    except KeyboardInterrupt:  # before the handlers stood
        code = 128 + signal.SIGINT
    raise typer.Exit(code)


async def _until_ended(work: Coroutine[Any, Any, int], farewell: str) -> int:
    import asyncio  # noqa: PLC0415

    task = asyncio.ensure_future(work)
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1:
            complain(farewell)
            task.cancel()
        elif len(received) == 2:
            complain(
                "still ending in order; once more ends at once, which may leave files in the temporary folder"
            )
        else:
            os._exit(128 + number)

    for number in ENDINGS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
