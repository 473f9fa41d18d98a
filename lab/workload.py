"""Writes to the user cluster's etcd without a pause, and remembers what was acknowledged.

Every write has a key of its own, so that a lost one is a missing key. A write is acknowledged, failed (it was
never sent) or unknown; only acknowledged ones may be held against an operation. The writers rotate over the
members as a client with three endpoints does.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lab.etcd_gateway import EtcdGateway, NotSent, Refused, Unreachable
from lab.models import TrafficReport

PREFIX = "lab/write/"
PERIOD = 0.015
TIMEOUT = 0.5
FILL_CHUNK = 256 * 1024
FILL_AT_ONCE = 4


@dataclass
class Ledger:
    """What was acknowledged and when; it knows neither etcd nor time."""

    acknowledged: set[str] = field(default_factory=set)
    failed: int = 0
    unknown: int = 0
    not_acknowledged_by: Counter[str] = field(default_factory=Counter)
    revision: int = 0
    longest_gap: float = 0.0
    longest_gap_at: float = 0.0
    started: float = 0.0
    last: float = 0.0

    def begin(self, now: float) -> None:
        """Writing starts, or starts again: the time between does not count as a gap."""
        self.started, self.last = now, now

    def acknowledge(self, key: str, revision: int, now: float) -> None:
        """One write is safe, says etcd."""
        self.wait_until(now)
        self.acknowledged.add(key)
        self.revision = max(self.revision, revision)
        self.last = now

    def wait_until(self, now: float) -> None:
        """Count the time since the last acknowledgement, which may not have ended."""
        if now - self.last > self.longest_gap:
            self.longest_gap, self.longest_gap_at = now - self.last, self.last


class Workload:
    """One continuous writer or several, and the filling of the database before they start."""

    def __init__(
        self, gateway: EtcdGateway, replicas: Sequence[str], clock: Callable[[], float] | None = None
    ) -> None:
        self._gateway = gateway
        self._replicas = tuple(replicas)
        self._clock = clock or asyncio.get_running_loop().time
        self._writers: list[asyncio.Task[None]] = []
        self._numbers = itertools.count()
        self.ledger = Ledger()

    @property
    def running(self) -> bool:
        """Whether somebody writes."""
        return bool(self._writers)

    def start(self, writers: int = 1) -> None:
        """Begin to write; what was acknowledged before stays in the ledger."""
        if not self.running:
            self.ledger.begin(self._clock())
            self._writers = [asyncio.create_task(self._write_on(number)) for number in range(writers)]

    async def stop(self) -> TrafficReport:
        """Let the last writes end and report."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.cancel()
        if writers:
            await asyncio.wait(writers)
            self.ledger.wait_until(self._clock())
        return self.report()

    def report(self) -> TrafficReport:
        """The figures so far."""
        ledger, now = self.ledger, self._clock()
        if self.running:
            ledger.wait_until(now)
        ago = datetime.timedelta(seconds=now - ledger.longest_gap_at)
        return TrafficReport(
            acknowledged=len(ledger.acknowledged),
            failed=ledger.failed,
            unknown=ledger.unknown,
            not_acknowledged_by=dict(ledger.not_acknowledged_by),
            longest_gap_seconds=round(ledger.longest_gap, 3),
            longest_gap_at=(datetime.datetime.now(datetime.UTC) - ago).isoformat(timespec="milliseconds"),
            seconds=round(now - ledger.started, 3),
        )

    async def _write_on(self, number: int) -> None:
        first = number % len(self._replicas)
        members = itertools.cycle(self._replicas[first:] + self._replicas[:first])
        while True:
            began = self._clock()
            await self._write(next(members))
            await asyncio.sleep(max(0.0, PERIOD - (self._clock() - began)))

    async def _write(self, member: str) -> None:
        key = f"{PREFIX}{next(self._numbers):08d}"
        try:
            revision = await self._gateway.put(member, key, key, timeout=TIMEOUT)
        except NotSent:
            self.ledger.failed += 1
            self.ledger.not_acknowledged_by[member] += 1
        except asyncio.CancelledError:
            self.ledger.unknown += 1
            raise
        except (Unreachable, Refused):
            self.ledger.unknown += 1
            self.ledger.not_acknowledged_by[member] += 1
        else:
            self.ledger.acknowledge(key, revision, self._clock())

    async def fill(self, size: int) -> None:
        """Grow the database to about this size, as an old cluster's is."""
        chunks: Iterator[int] = iter(range(size // FILL_CHUNK))
        await asyncio.gather(*(self._fill(chunks, member) for member in (self._replicas * 2)[:FILL_AT_ONCE]))

    async def _fill(self, chunks: Iterator[int], member: str) -> None:
        value = "x" * (FILL_CHUNK - 64)
        for chunk in chunks:
            await self._gateway.put(member, f"lab/fill/{chunk:08d}", value, timeout=30.0)
