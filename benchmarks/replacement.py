"""One replacement, five ways, interleaved: so that what a machine does meanwhile meets all of them alike."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks import floor, ways
from benchmarks.models import Replacements, Walk, machine, save
from benchmarks.say import say
from benchmarks.ways import Case
from lab.binaries import MissingBinary, control_plane_folder
from lab.models import Fault
from lab.options import LabOptions

WAYS = "abcde"
MANY = 5
NAMES = {
    "a": "the runbook as it is written",
    "b": "the same, and what it forgets",
    "c": "this product",
    "d": "this product, PDB kept, only the replica drained",
    "e": "etcd's operations alone",
}


async def measure(
    runs: int, options: LabOptions, replica: str, fault: Fault, wanted: str = WAYS
) -> Replacements:
    """Walk each way so many times; those by hand need kubectl."""
    found, noops, here = [], [], machine()
    if not _kubectl():
        say("without kubectl (KUBEBUILDER_ASSETS) the ways by hand, a and b, are left out")
        wanted = "".join(way for way in wanted if way not in "ab")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        case = Case(options, replica, fault, Path(name))
        for number in range(runs):
            for way in _turned(wanted if runs >= MANY else _short(wanted, number), number):
                walked, noop = await _walk(case.of(f"{way}{number}"), way)
                found.append(walked)
                noops += [noop] if noop else []
                say(f"{number + 1}/{runs} ({way}) {NAMES[way]}: {_line(walked)}")
    return Replacements(
        machine=here,
        kubernetes=next((walk.kubernetes for walk in found if walk.kubernetes), ""),
        etcd=next((walk.etcd for walk in found if walk.etcd), ""),
        replica=replica,
        fault=fault,
        pod_management=options.pod_management,
        database_size=options.database_size,
        noop_seconds=[round(noop, 4) for noop in noops],
        walks=found,
    )


def _short(wanted: str, number: int) -> str:
    """Of few runs only the first has (a): it takes a minute, and nothing is compared with it."""
    return wanted if number == 0 else wanted.replace("a", "") or wanted


def _turned(wanted: str, number: int) -> str:
    """Another way begins each round."""
    first = number % len(wanted)
    return wanted[first:] + wanted[:first]


async def _walk(case: Case, way: str) -> tuple[Walk, float | None]:
    if way == "e":
        options = case.options
        return await floor.walk(options.etcd, case.scratch, case.replica, options.database_size), None
    if way in "ab":
        return await ways.by_hand(case, complete=way == "b"), None
    return await ways.by_product(case, way)


def _line(walk: Walk) -> str:
    words = [f"{walk.seconds:.1f} s", f"gap {walk.write_gap:.2f} s", f"{walk.restarts} restarts"]
    words += [f"{walk.requests} requests"] if walk.requests is not None else []
    return ", ".join([walk.outcome, *words])


def _kubectl() -> bool:
    try:
        return (control_plane_folder() / "kubectl").is_file()
    except MissingBinary:
        return False


def run(runs: int, options: LabOptions, *, replica: str, fault: Fault, wanted: str, name: str) -> None:
    """Measure and write it down."""
    say(f"written: {save(name, asyncio.run(measure(runs, options, replica, fault, wanted)))}")
