"""`python -m benchmarks PART` measures one part and writes `benchmarks/results/PART.json`; `--help` names them."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from lab.binaries import MissingBinary, control_plane_folder, etcd_assets
from lab.options import LabOptions


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("replacement", help="one replacement, five ways")
    one.add_argument("--runs", type=int, default=10)
    one.add_argument("--ways", default="abcde", help="which of a, b, c, d, e")
    one.add_argument("--replica", default="kube-etcd-2", help="the highest ordinal suits the runbook best")
    one.add_argument("--fault", default="corrupt-wal")
    one.add_argument("--pod-management", default="OrderedReady")
    one.add_argument("--database-size", default="0", help="such as 250MB")
    one.add_argument("--name", default="replacement", help="of the file with the results")
    start = parts.add_parser("startup", help="start-up and footprint")
    start.add_argument("--runs", type=int, default=10)
    parts.add_parser("history", help="the size of histories")
    fleet = parts.add_parser("fleet", help="many user clusters at once, by one worker")
    fleet.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        default=["1", "10", "10real", "100", "500"],
        help="10real: real etcd",
    )
    fleet.add_argument("--qps", type=float, default=0, help="the worker's rate limit; 0: what it can do")
    fleet.add_argument("--activities", type=int, default=50, help="the worker's bound on steps at once")
    parts.add_parser("report", help="write the tables and the picture, of the results that are there")
    return parser.parse_args()


def _size(text: str) -> str:
    if re.fullmatch("[1-9][0-9]*(real)?", text) is None:
        raise argparse.ArgumentTypeError(f"a number, or one with real etcd such as 10real, not {text!r}")
    return text


def lab_options(asked: argparse.Namespace) -> LabOptions:
    """The real control plane and the newest etcd 3.5 where they are, else what comes with the project."""
    newest = [folder for folder in etcd_assets() if folder.name.startswith("3.5.")][-1:]
    return LabOptions.model_validate(
        {
            "kubernetes": "real" if _real() else "simulated",
            "etcd": newest[0] if newest else None,
            "pod_management": asked.pod_management,
            "database_size": asked.database_size,
            "audit_log": Path("audit.log"),
        }
    )


def _real() -> bool:
    try:
        control_plane_folder()
    except MissingBinary:
        return False
    return True


def main() -> int:
    """Measure what was asked for; each part is imported only then."""
    asked = arguments()
    if asked.part == "replacement":
        from benchmarks import replacement  # noqa: PLC0415

        replacement.run(
            asked.runs,
            lab_options(asked),
            replica=asked.replica,
            fault=asked.fault,
            wanted=asked.ways,
            name=asked.name,
        )
    elif asked.part == "startup":
        from benchmarks import startup  # noqa: PLC0415

        startup.run(asked.runs)
    elif asked.part == "history":
        from benchmarks import history  # noqa: PLC0415

        history.run()
    elif asked.part == "fleet":
        from benchmarks import fleet  # noqa: PLC0415

        fleet.run(asked.sizes, asked.qps, asked.activities)
    elif asked.part == "report":
        from benchmarks import report  # noqa: PLC0415

        report.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
