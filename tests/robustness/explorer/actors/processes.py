"""Workers, Temporal, the API server and node agents: killed, paused, and back after a while."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

from lab.client import LabError
from tests.robustness.explorer.actors import Actor
from tests.robustness.explorer.schedule import Fault
from tests.robustness.explorer.stage import WORKERS, Stage

BACK_WITHIN = 60.0
AGAIN = 0.5


async def kill_worker(stage: Stage, fault: Fault) -> str:
    """One worker crashes; the other one is there."""
    return await _kill_workers(stage, fault, [fault.params["worker"]])


async def kill_workers(stage: Stage, fault: Fault) -> str:
    """Nobody is left to go on for a while."""
    return await _kill_workers(stage, fault, range(WORKERS))


async def _kill_workers(stage: Stage, fault: Fault, numbers: Collection[int]) -> str:
    stage.workers.gone.update(numbers)
    try:
        for number in numbers:
            await stage.workers.processes[number].kill()
        await asyncio.sleep(fault.seconds)
    finally:
        stage.workers.gone.difference_update(numbers)
    return "started again"


async def pause_worker(stage: Stage, fault: Fault) -> str:
    """One hangs in the middle of whatever it does, and goes on with that when others have gone on."""
    process = stage.workers.processes[fault.params["worker"]]
    process.pause()
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        process.resume()
    return "went on"


async def kill_temporal(stage: Stage, fault: Fault) -> str:
    """It crashes, and comes back with its store."""
    process = stage.temporal.process
    await process.kill()
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await process.start()
    return "started again"


async def pause_temporal(stage: Stage, fault: Fault) -> str:
    """It answers nothing for a while."""
    stage.temporal.process.pause()
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        stage.temporal.process.resume()
    return "went on"


async def kill_api_server(stage: Stage, fault: Fault) -> str:
    """It crashes; in the simulation its controllers go with it."""
    await stage.lab.control_plane("kill")
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await stage.lab.control_plane("start")
    return "started again"


async def pause_api_server(stage: Stage, fault: Fault) -> str:
    """It answers nothing for a while."""
    await stage.lab.control_plane("pause")
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await stage.lab.control_plane("resume")
    return "went on"


async def stop_agent(stage: Stage, fault: Fault) -> str:
    """A kubelet dies and is started again; its pods run on."""
    return await _without_agent(stage, fault, frozen=False)


async def freeze_agent(stage: Stage, fault: Fault) -> str:
    """A kubelet hangs: whoever asks it something gets no answer at all."""
    return await _without_agent(stage, fault, frozen=True)


async def _without_agent(stage: Stage, fault: Fault, *, frozen: bool) -> str:
    node = fault.params["node"]
    await stage.lab.set_agent(node, running=False, frozen=frozen)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await asyncio.shield(_agent_back(stage, node))
    return "started again"


async def _agent_back(stage: Stage, node: str) -> None:
    """A node registers with the API server, which may be away itself."""
    async with asyncio.timeout(BACK_WITHIN):
        while True:
            with suppress(LabError):
                await stage.lab.set_agent(node, running=True)
                return
            await asyncio.sleep(AGAIN)


ACTORS: dict[str, Actor] = {
    "worker-kill": kill_worker,
    "workers-kill": kill_workers,
    "worker-pause": pause_worker,
    "temporal-kill": kill_temporal,
    "temporal-pause": pause_temporal,
    "api-kill": kill_api_server,
    "api-pause": pause_api_server,
    "agent-stop": stop_agent,
    "agent-freeze": freeze_agent,
}
