"""Who does what to a stage: one small module for each kind of fault.

An actor does it, waits as long as the fault lasts, and takes it back, also when it is cancelled: in the end every
fault is lifted.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.robustness.explorer.schedule import Fault
    from tests.robustness.explorer.stage import Stage

Actor = Callable[["Stage", "Fault"], Coroutine[Any, Any, str]]
"""Returns what became of it, for the story."""


def actors() -> dict[str, Actor]:
    """Every actor by the kind of its fault."""
    from tests.robustness.explorer.actors import (  # noqa: PLC0415 - they import what is above
        kubectl,
        orders,
        processes,
        survivor,
        wire,
    )

    found: dict[str, Actor] = {}
    for module in (kubectl, orders, processes, survivor, wire):
        found |= module.ACTORS
    return found
