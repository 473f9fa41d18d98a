"""Follows a run to its end and shows its progress meanwhile."""

from __future__ import annotations

import asyncio

from temporalio.service import RPCError

from replace_etcd import replacements
from replace_etcd.cli.views import ProgressView

LOOK_EVERY = 0.3


async def follow(run: replacements.Handle, view: ProgressView) -> replacements.Ending:
    """Show each step as it ends; return how the run ended."""
    looking = asyncio.create_task(_look_on(run, view))
    try:
        ending = await replacements.ending(run)
    finally:
        looking.cancel()
        await asyncio.wait({looking})
    if ending.result is not None:
        view.finished(ending.result.steps)
    return ending


async def _look_on(run: replacements.Handle, view: ProgressView) -> None:
    while True:
        try:
            described = await run.describe()
            seen = await replacements.progress(run)
        except (
            RPCError
        ):  # Temporal is away for a moment; the one that waits for the end says so if it stays away
            seen = None
        else:
            view.update(seen, replacements.attempt(described, seen))
        await asyncio.sleep(LOOK_EVERY)
