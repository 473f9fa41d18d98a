"""A survivor is hurt, one at a time and not for good: its process, its link, its way to one other."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from lab.client import LabError
from tests.robustness.explorer.actors import Actor
from tests.robustness.explorer.schedule import Fault
from tests.robustness.explorer.stage import Stage


async def kill(stage: Stage, fault: Fault) -> str:
    """Its process crashes; the node agent starts it again."""
    await stage.lab.signal_member(fault.params["replica"], "kill")
    return "killed"


async def pause(stage: Stage, fault: Fault) -> str:
    """It hangs: it is connected, and says nothing."""
    replica = fault.params["replica"]
    await stage.lab.signal_member(replica, "stop")
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await stage.lab.signal_member(replica, "cont")
    return "went on"


async def cut_off(stage: Stage, fault: Fault) -> str:
    """Nobody reaches it."""
    replica = fault.params["replica"]
    await stage.lab.set_link(replica, up=False)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await stage.lab.set_link(replica, up=True)
    return "connected again"


async def partition(stage: Stage, fault: Fault) -> str:
    """It and one other do not reach each other; everybody else reaches both.

    The other one may be gone, or be another pod by the end: what is not there need not be connected.
    """
    one, other = fault.params["one"], fault.params["other"]
    await stage.lab.set_partition(one, other, cut=True)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await _connect(stage, one, other)
    return "connected again"


async def _connect(stage: Stage, one: str, other: str) -> None:
    """Both lose what keeps them apart; each by itself, where the other pod is gone."""
    for pair in ((one, other), (one, one), (other, other)):
        with suppress(LabError):
            await stage.lab.set_partition(*pair, cut=False)
            if pair == (one, other):
                return


ACTORS: dict[str, Actor] = {
    "survivor-kill": kill,
    "survivor-pause": pause,
    "survivor-cut": cut_off,
    "partition": partition,
}
