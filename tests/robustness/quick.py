"""The quick tier of the fault matrix: every cell, against the model of etcd that passes the table of real etcd.

`python -m tests.robustness.quick [REGEX]` plays the cells of these names, many in one replacement, and prints the
table. The full tier plays the same cells with real etcd (tests/robustness/full.py).
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

import worker
from tests.robustness.cells import Cell, Row, cells
from tests.robustness.full import key_of, table
from tests.robustness.matrix import Result, a_matrix
from tests.robustness.nodes import ModelCluster

AT_ONCE = 20
ELSEWHERE = {
    "request_cancellation": "asks Temporal, and nothing on the wire",
    "protect_stuck_replacement": "the janitor has tests of its own",
    "diagnose": "only reads, in a workflow of its own",
    "append_audit_events": "writes into the audit, which has tests of its own",
    "send_notification": "asks receivers, and nothing of the admin cluster",
}


def activities() -> set[str]:
    """Every activity of the product, by the worker's own list."""
    names = {name: getattr(kind, name) for kind in worker.STEPS for name in dir(kind)}
    return {name for name, found in names.items() if hasattr(found, "__temporal_activity_definition")}


def report(cell: Cell, said: str) -> None:
    """Say it as it comes."""
    print(f"{cell.name}: {said}", flush=True)  # noqa: T201 - the runner's output


async def play(only: str) -> tuple[list[Row], list[Cell], Result]:
    """Play the cells of these names."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        async with a_matrix(Path(name), ModelCluster, AT_ONCE, hurry=True) as matrix:
            rows = await matrix.rows()
            wanted = [cell for cell in cells(rows) if re.search(only, cell.name)]
            return rows, wanted, await matrix.play(wanted, report)


def main() -> int:
    """0 where every cell is clean, and no activity of the product is missing in the table."""
    rows, wanted, result = asyncio.run(play(" ".join(sys.argv[1:])))
    verdicts = {key_of(cell): said for cell, said in result.verdicts.items()}
    missing = activities() - set(ELSEWHERE) - {row.activity for row in rows}
    summary = f"{len(wanted)} cells in {result.stories} replacements, the worker killed {result.kills} times"
    print("\n".join([*table(rows, verdicts), summary, *result.apart, *result.wrong]))  # noqa: T201
    if missing:
        print(f"without a row: {', '.join(sorted(missing))}")  # noqa: T201
    return 1 if result.wrong or result.apart or missing or set(result.verdicts) != set(wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
