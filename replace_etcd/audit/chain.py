"""The chain that makes a change of the past visible: pure arithmetic on rows.

Each event carries the hash of the one before it in its run. Each append leaves a head: the newest hash of its run,
chained to the head before. A row that is changed, removed or put elsewhere breaks its run's chain, a run that is
removed is still named by a head, and whoever has noted the newest head elsewhere finds a cut end too.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

BEGINNING = "0" * 64


@dataclass(frozen=True)
class Row:
    """An event as it is stored; everything but `id` and `hash` is under the hash."""

    id: int
    run_id: str
    number: int
    key: str
    kind: str
    at: str
    workflow_id: str
    user_cluster: str | None
    replica: str | None
    incident: str | None
    outcome: str | None
    body: str
    previous: str
    hash: str


@dataclass(frozen=True)
class Head:
    """What one append left: its run's newest event, and the head before."""

    id: int
    run_id: str
    number: int
    event_hash: str
    previous: str
    hash: str


UNDER_THE_HASH = tuple(field.name for field in fields(Row) if field.name not in ("id", "hash"))


@dataclass(frozen=True)
class Verification:
    """What was checked, what is wrong, and the newest head: noted elsewhere, it proves the end as well."""

    runs: int
    events: int
    head: str
    problems: list[str]


def canonical(value: Any) -> str:
    """JSON that is the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def event_hash(values: dict[str, Any]) -> str:
    """The hash of an event, over its own fields and the hash of the event before it."""
    return _sha256([values[name] for name in UNDER_THE_HASH])


def head_hash(position: int, run_id: str, number: int, newest: str, previous: str) -> str:
    """The hash of a head."""
    return _sha256([position, run_id, number, newest, previous])


def _sha256(value: list[Any]) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def verify(rows: Iterable[Row], heads: Sequence[Head], *, noted_head: str | None = None) -> Verification:
    """Recompute everything; `rows` come by run and number, `heads` by their position."""
    problems: list[str] = []
    newest: dict[str, Row] = {}
    hashes: dict[tuple[str, int], str] = {}
    for row in rows:
        problems += _problems_of_row(row, newest.get(row.run_id))
        newest[row.run_id] = row
        hashes[row.run_id, row.number] = row.hash
    problems += _problems_of_heads(heads, hashes, newest)
    if noted_head is not None and noted_head not in {head.hash for head in heads}:
        problems.append(
            f"the head {noted_head} that was noted is not there: the end was cut off or rewritten"
        )
    head = heads[-1].hash if heads else BEGINNING
    return Verification(len(newest), len(hashes), head, problems)


def _problems_of_row(row: Row, before: Row | None) -> list[str]:
    number, previous = (before.number, before.hash) if before else (0, BEGINNING)
    where = f"run {row.run_id}, event {row.number} ({row.key})"
    problems = []
    if row.number != number + 1:
        problems.append(f"run {row.run_id}: after event {number} comes {row.number}: one is missing")
    elif row.previous != previous:
        problems.append(f"{where}: does not follow the event before it: reordered or replaced")
    if event_hash({name: getattr(row, name) for name in UNDER_THE_HASH}) != row.hash:
        problems.append(f"{where}: was changed")
    return problems


def _problems_of_heads(
    heads: Sequence[Head], hashes: dict[tuple[str, int], str], newest: dict[str, Row]
) -> list[str]:
    problems, previous, covered = [], BEGINNING, dict.fromkeys(newest, 0)
    missing: set[str] = set()
    for position, head in enumerate(heads, start=1):
        if head.id != position or head.previous != previous:
            problems.append(f"head {head.id}: does not follow the head before it: one is missing")
        if head_hash(head.id, head.run_id, head.number, head.event_hash, head.previous) != head.hash:
            problems.append(f"head {head.id}: was changed")
        previous = head.hash
        if head.run_id not in newest:
            missing.add(head.run_id)
        elif hashes.get((head.run_id, head.number)) != head.event_hash:
            problems.append(
                f"run {head.run_id}: event {head.number} is missing or is not the one head {head.id} saw"
            )
        covered[head.run_id] = head.number
    problems += [f"run {run_id} is missing: heads name it, and it has no event" for run_id in sorted(missing)]
    for run_id, row in newest.items():
        if covered[run_id] < row.number:
            problems.append(
                f"run {run_id}: event {row.number} has no head: it was not appended by this product"
            )
    return problems
