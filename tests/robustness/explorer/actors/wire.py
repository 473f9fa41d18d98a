"""The wire between workers and API server: errors, resets, lost answers, latency, dropped execs, late requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from aiohttp import web

from lab.fixture.names import NAMESPACE, NODES
from tests.robustness.explorer.actors import Actor
from tests.robustness.explorer.schedule import Fault
from tests.robustness.explorer.stage import Stage
from tests.robustness.proxy import (
    Act,
    Call,
    Held,
    Passage,
    Rule,
    answers,
    drop_in_the_middle,
    lose_the_answer,
    on,
    reset,
)

EVERYWHERE = ("", NAMESPACE, *NODES)
CHANGES = ("POST", "PUT", "PATCH", "DELETE")


async def errors(stage: Stage, fault: Fault) -> str:
    """The API server refuses some requests, or all."""
    return await _for_a_while(stage, fault, answers(fault.params["status"]))


async def resets(stage: Stage, fault: Fault) -> str:
    """Connections break before anything is passed on."""
    return await _for_a_while(stage, fault, reset)


async def lost_answers(stage: Stage, fault: Fault) -> str:
    """Changes take effect, and nobody learns of it."""
    return await _for_a_while(
        stage, fault, lose_the_answer, lambda call: call.method in CHANGES or call.is_exec
    )


async def latency(stage: Stage, fault: Fault) -> str:
    """Everything takes longer."""

    async def slowly(passage: Passage) -> web.StreamResponse:
        await asyncio.sleep(fault.params["latency"])
        return await passage.through()

    return await _for_a_while(stage, fault, slowly)


async def dropped_exec(stage: Stage, fault: Fault) -> str:
    """Commands go on whose connection is gone."""
    return await _for_a_while(stage, fault, drop_in_the_middle, lambda call: call.is_exec)


async def late_request(stage: Stage, fault: Fault) -> str:
    """One change is held on its way, and acts when its sender may have given it up."""
    held = Held()
    change = on(fault.params["step"], nth=fault.params["nth"])
    rule = Rule(lambda call: call.method in CHANGES and change(call), held)
    stage.proxy.rules.setdefault(NAMESPACE, []).append(rule)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        held.release()
        stage.proxy.rules[NAMESPACE].remove(rule)
    return "held and let go" if rule.met else "met nothing"


async def _for_a_while(
    stage: Stage, fault: Fault, act: Act, matches: Callable[[Call], bool] = lambda _: True
) -> str:
    """Each request is met by chance; the generator is the fault's own, so that a seed tells all of it."""
    dice = random.Random(str(fault))  # noqa: S311 - reproducible, no secret
    chance = fault.params["chance"]
    rule = Rule(lambda call: matches(call) and dice.random() < chance, act, times=None)
    rules = [stage.proxy.rules.setdefault(where, []) for where in EVERYWHERE]
    for there in rules:
        there.append(rule)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        for there in rules:
            there.remove(rule)
    return f"met {rule.met} requests"


ACTORS: dict[str, Actor] = {
    "wire-errors": errors,
    "wire-resets": resets,
    "wire-lost-answers": lost_answers,
    "wire-latency": latency,
    "exec-dropped": dropped_exec,
    "late-request": late_request,
}
