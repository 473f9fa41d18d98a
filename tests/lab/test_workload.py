"""The writers' ledger: what counts as acknowledged, and how long nobody was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lab.etcd_gateway import NotSent, Unreachable
from lab.fixture.names import REPLICAS
from lab.workload import Ledger, Workload
from tests.lab.nodes.waiting import until


class Gateway:
    """An etcd that answers as a test wants it to."""

    def __init__(self, answer: Callable[[str], int]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.keys: list[str] = []

    async def put(self, replica: str, key: str, *_: str, **__: float) -> int:
        self.asked.append(replica)
        self.keys.append(key)
        return self.answer(replica)


def gateway(answer: Callable[[str], int]) -> Any:
    return Gateway(answer)


def test_the_longest_gap_lies_between_two_acknowledgements() -> None:
    ledger = Ledger()
    ledger.begin(10.0)
    for moment in (10.1, 10.2, 13.2, 13.3):
        ledger.acknowledge(f"k{moment}", 1, moment)
    assert ledger.longest_gap == pytest.approx(3.0)
    assert ledger.longest_gap_at == pytest.approx(10.2)


def test_a_gap_that_has_not_ended_counts() -> None:
    """A quorum that is lost for good is no small gap."""
    ledger = Ledger()
    ledger.begin(0.0)
    ledger.acknowledge("k", 1, 1.0)
    ledger.wait_until(20.0)
    assert ledger.longest_gap == pytest.approx(19.0)


def test_the_time_between_two_rounds_of_writing_is_no_gap() -> None:
    ledger = Ledger()
    ledger.begin(0.0)
    ledger.acknowledge("k", 1, 0.5)
    ledger.begin(100.0)
    ledger.acknowledge("l", 2, 100.1)
    assert ledger.longest_gap == pytest.approx(0.5)
    assert ledger.revision == 2


async def test_every_write_has_a_key_of_its_own_and_members_take_turns() -> None:
    etcd = gateway(lambda _: 1)
    workload = Workload(etcd, REPLICAS)
    workload.start(writers=2)

    async def enough() -> bool:
        return len(workload.ledger.acknowledged) >= 9

    await until(enough, within=10)
    report = await workload.stop()
    assert len(set(etcd.keys)) == len(etcd.keys)
    assert set(etcd.asked) == {"kube-etcd-0", "kube-etcd-1", "kube-etcd-2"}
    assert report.acknowledged == len(workload.ledger.acknowledged)
    assert not workload.running


async def test_a_write_that_was_never_sent_is_told_from_one_of_unknown_outcome() -> None:
    """Only acknowledged writes may be held against an operation."""
    answers = {"kube-etcd-0": NotSent("x"), "kube-etcd-1": Unreachable("y"), "kube-etcd-2": None}

    def answer(replica: str) -> int:
        error = answers[replica]
        if error is not None:
            raise error
        return 5

    workload = Workload(gateway(answer), REPLICAS)
    workload.start()

    async def all_kinds() -> bool:
        ledger = workload.ledger
        return min(ledger.failed, ledger.unknown, len(ledger.acknowledged)) >= 2

    await until(all_kinds, within=10)
    await workload.stop()
    assert workload.ledger.revision == 5
