"""What drain and catch-up say with their heartbeats."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from activities import drain
from activities.drain import Drain
from activities.etcd_members import _catching_up
from replace_etcd.cluster import Eviction
from replace_etcd.settings import Settings
from tests.unit.scripted_etcd import status_of


class Node:
    """A cluster with pods on one node; `blocked` is evicted at the second try, `slow` goes when it is told to."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.slow = asyncio.Event()
        self.tries = 0

    async def find(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        owner = [{"kind": "ReplicaSet", "controller": True}]
        return [
            {"metadata": {"name": name, "namespace": "x", "uid": name, "ownerReferences": owner}, "spec": {}}
            for name in self.names
        ]

    async def evict(self, namespace: str, pod: str, **_: Any) -> Eviction:
        if pod == "blocked":
            self.tries += 1
            if self.tries == 1:
                return Eviction(admitted=False, status=429, reason="the budget of x")
        return Eviction(admitted=True)

    async def wait_for(self, kind: Any, name: str, *_: Any, **__: Any) -> None:
        if name == "slow":
            await self.slow.wait()


async def test_a_drain_says_how_many_pods_are_gone_and_what_the_others_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node("quick", "slow", "blocked")
    said: list[str] = []
    monkeypatch.setattr(drain, "tell", said.append)
    monkeypatch.setattr(drain, "BLOCKED_RETRY_SECONDS", 0.0)

    async def hold() -> None:
        return None

    order = SimpleNamespace(
        skip_uids=[],
        delete_emptydir_data=True,
        force=False,
        pins=SimpleNamespace(node="node-2", pod_uid="failed"),
    )
    attempt = SimpleNamespace(hold=hold, settled=lambda: None)
    tools = SimpleNamespace(cluster=node, settings=Settings())
    running = asyncio.ensure_future(Drain(tools, order, attempt).run())  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        while "2 of 3 pods gone; x/slow is ending" not in said:  # noqa: ASYNC110 - only what is said tells
            await asyncio.sleep(0)
    node.slow.set()
    assert await running == ["quick", "slow", "blocked"]
    assert said[0].startswith("0 of 3 pods gone; x/quick to be evicted")
    assert any("x/blocked blocked: the budget of x" in words for words in said)
    assert said[-1] == "3 of 3 pods gone"


def test_a_learner_says_how_far_behind_it_is() -> None:
    assert (
        _catching_up(status_of("b2", 4200, 4300), status_of("a0", 5390, 5400))
        == "learner at raft index 4200 of 5400, 1200 behind"
    )
