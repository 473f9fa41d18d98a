"""Several things at once: in their order where all succeed, and nothing left running where one does not."""

import asyncio

import pytest

from activities.side_by_side import side_by_side
from replace_etcd.errors import Moved, NotYet


async def said(words: str) -> str:
    return words


async def failing() -> str:
    raise Moved("gone") from KeyError("why")


async def test_answers_come_in_the_order_of_the_questions() -> None:
    assert await side_by_side(said("one"), said("two"), said("three")) == ("one", "two", "three")


async def test_where_one_fails_the_others_are_stopped_first() -> None:
    stopped = asyncio.Event()

    async def patient() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ""

    with pytest.raises(Moved, match="gone") as raised:
        await side_by_side(side_by_side(patient(), failing()), patient())
    assert isinstance(raised.value.__cause__, KeyError)
    assert stopped.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_limit_of_time_is_told_as_one() -> None:
    async def late() -> str:
        await asyncio.Event().wait()
        raise NotYet("never")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await side_by_side(late(), said("soon"))
