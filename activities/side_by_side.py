"""Asking, or doing, several things at once without leaving any of them running.

`asyncio.gather` lets the others go on when one fails: a step that has failed would go on asking etcd, or evicting pods,
beside whatever comes next.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Work = Coroutine[Any, Any, A]


@overload
async def side_by_side(first: Work[A], second: Work[B], /) -> tuple[A, B]: ...


@overload
async def side_by_side(first: Work[A], second: Work[B], third: Work[C], /) -> tuple[A, B, C]: ...


@overload
async def side_by_side(*works: Work[A]) -> tuple[A, ...]: ...


async def side_by_side(*works: Work[Any]) -> tuple[Any, ...]:
    """What each came to, in their order; where one fails, the others are stopped, and its error is raised then."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    return tuple(task.result() for task in tasks)
