"""Temporal's own floor: activities that do nothing, by the same server, on the same machine, in the same run."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

COUNT = 24


@activity.defn
async def nothing(_: dict[str, str]) -> dict[str, str]:
    """Do nothing, with an order and a result as a step has them."""
    return {}


@workflow.defn
class NothingInARow:
    """As many activities as are wished, one after the other."""

    @workflow.run
    async def run(self, count: int) -> None:
        """Run them."""
        for _ in range(count):
            await workflow.execute_activity(
                nothing, {"order": "x" * 2000}, start_to_close_timeout=timedelta(seconds=10)
            )


async def seconds_of_one(client: Client, count: int = COUNT) -> float:
    """What one activity costs, as one of many."""
    queue = f"nothing-{uuid.uuid4().hex[:8]}"
    async with Worker(client, task_queue=queue, workflows=[NothingInARow], activities=[nothing]):
        await client.execute_workflow(NothingInARow.run, 1, id=f"{queue}-first", task_queue=queue)
        began = time.monotonic()
        await client.execute_workflow(NothingInARow.run, count, id=queue, task_queue=queue)
        return (time.monotonic() - began) / count
