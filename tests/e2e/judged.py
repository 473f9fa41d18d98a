"""The last word on a replacement that met faults is a judge's, who knows nothing of them.

It is the one of the fault matrix, on what is left, and the explorer's, on all the way there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lab.client import LabClient
from lab.kube_client import KubeClient
from lab.nodes.tasks import cancelled
from replace_etcd.models.result import Outcome
from tests.robustness.explorer.sight import Sight, Watcher, look, sightings
from tests.robustness.explorer.verdict import Excuses, verdict
from tests.robustness.judge import Look, Story

FAILED = "kube-etcd-1"
WITHOUT_THE_SERVER = 5.0
"""So long a look waits for an API server that is frozen: then it is worth nothing any more."""


@asynccontextmanager
async def judged(lab: LabClient, failed: str = FAILED) -> AsyncIterator[None]:
    """Within the block a healthy member fails and is replaced, whatever else happens; the judge finds nothing wrong."""
    async with KubeClient.from_kubeconfig(lab.kubeconfig, timeout=WITHOUT_THE_SERVER) as kube:
        before = await look(kube, await lab.evidence())
        watcher = Watcher(lab, kube, time.monotonic)
        watching = asyncio.create_task(watcher.watch())
        try:
            yield
            assert not watching.done(), "the judge must not have looked away"
        finally:
            await cancelled(watching)
        await lab.stop_traffic()
        story = await _story(lab, kube, failed, before, watcher.sight)
    wrong = verdict(story, watcher.sight, Excuses(), keeps_budget=False)
    assert not wrong, "; ".join(wrong)


async def _story(lab: LabClient, kube: KubeClient, failed: str, before: Look, sight: Sight) -> Story:
    evidence = await lab.evidence()
    after = await look(kube, evidence)
    listed = (before.members, *(glance.members for glance in sight.glances))
    ever = {member.id for members in listed for member in members}
    return Story(
        failed=failed,
        pinned=next(member.id for member in before.members if member.name == failed),
        before=before,
        after=after,
        outcome=Outcome.REPLACED,
        removed=tuple(ever - {member.id for member in after.members}),
        sightings=sightings(evidence),
        acknowledged=frozenset(evidence.acknowledged),
        read={name: frozenset(keys) for name, keys in evidence.read.items()},
    )
