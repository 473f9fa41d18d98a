"""The tables of docs/benchmarks.md, made of the files in `benchmarks/results` and of nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.fleet import REAL, Fleets
from benchmarks.history import Histories
from benchmarks.models import RESULTS, Machine, Replacements, Span, Spread, Walk, spread
from benchmarks.replacement import NAMES, WAYS
from benchmarks.startup import Startup

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
Row = Sequence[str]


def table(head: Row, rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def replacement(result: Replacements) -> str:
    """The ways side by side, their ratios, and where the product's time goes."""
    ways = [way for way in WAYS if any(walk.way == way for walk in result.walks)]
    of = {way: [walk for walk in result.walks if walk.way == way] for way in ways}
    rows = [[name, *(_cell(of[way], figure) for way in ways)] for name, figure in FIGURES]
    where = (
        f"Kubernetes {result.kubernetes}, etcd {result.etcd}, {result.pod_management}, {result.replica} with"
        f" {result.fault}, database of {result.database_size / 10**6:.0f} MB; {_counts(of)}, interleaved:"
        " median (minimum to maximum)."
    )
    names = "\n".join(f"- ({way}) {NAMES[way]}" for way in ways)
    parts = [_place(result.machine), where, names, table(["", *(f"({way})" for way in ways)], rows)]
    if "c" in of:
        parts += [goals(result, of), waits(result, of["c"]), steps(of["c"])]
    return "\n\n".join(parts)


def _counts(of: dict[str, list[Walk]]) -> str:
    """How many runs: of all alike, or of each."""
    if len({len(walks) for walks in of.values()}) == 1:
        return f"{len(next(iter(of.values())))} runs of each"
    return "runs: " + ", ".join(f"({way}) {len(walks)}" for way, walks in of.items())


def _total(spans: Sequence[Span]) -> float:
    return sum(span.seconds for span in spans)


FIGURES: tuple[tuple[str, Callable[[Walk], float | None]], ...] = (
    ("total, s", lambda walk: walk.seconds),
    ("longest gap between acknowledged writes, s", lambda walk: walk.write_gap),
    ("writes that a survivor did not acknowledge", lambda walk: walk.failed_writes),
    ("acknowledged writes lost", lambda walk: walk.lost_writes),
    ("restarts of healthy members", lambda walk: walk.restarts),
    ("without PDB, s", lambda walk: None if walk.way == "e" else _total(walk.without_budget)),
    (
        "without fault tolerance, s",
        lambda walk: float("inf") if walk.never_tolerant else _total(walk.without_tolerance),
    ),
    ("requests to the API server", lambda walk: walk.requests),
    ("history, bytes", lambda walk: walk.history_bytes),
    ("history, events", lambda walk: walk.history_events),
)


def _cell(walks: Sequence[Walk], figure: Callable[[Walk], float | None]) -> str:
    values = [value for value in map(figure, walks) if value is not None]
    if not values:
        return "-"
    if any(value == float("inf") for value in values):
        return f"never ended in {values.count(float('inf'))} of {len(values)}"
    return shown(spread(values))


def shown(found: Spread) -> str:
    """Median, and the range where there is one."""
    if found.minimum == found.maximum:
        return _number(found.median)
    return f"{_number(found.median)} ({_number(found.minimum)} to {_number(found.maximum)})"


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value)}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _median(walks: Sequence[Walk], figure: Callable[[Walk], float]) -> float:
    return statistics.median(figure(walk) for walk in walks)


def unavoidable(result: Replacements, walk: Walk) -> dict[str, float]:
    """What this walk had to wait for: the world, the probes that the contract asks for, and Temporal's floor."""
    noop = statistics.median(result.noop_seconds)
    floor = noop * (walk.activities or 0)
    probes = sum(step.seconds for step in walk.steps if step.name == "watch_failed_member")
    return {
        "probes of the failed member before its eviction": max(0.0, probes - noop),
        **walk.waits,
        f"Temporal: {walk.activities} activities that do nothing": floor,
    }


def goals(result: Replacements, of: dict[str, list[Walk]]) -> str:
    """What was aimed at, and what came out."""
    c = of["c"]
    waited = _median(c, lambda walk: sum(unavoidable(result, walk).values()))
    total = _median(c, lambda walk: walk.seconds)
    rows: list[Row] = []

    def row(what: str, at_most: float, value: float) -> None:
        rows.append([what, f"{at_most:g}", f"{value:.2f}", "yes" if value <= at_most else "**no**"])

    if "b" in of:
        row("(c) / (b), total", 0.4, total / _median(of["b"], lambda walk: walk.seconds))
        without = _median(of["b"], lambda walk: _total(walk.without_budget))
        row(
            "(c) / (b), without PDB",
            0.1,
            _median(c, lambda walk: _total(walk.without_budget)) / without if without else 0.0,
        )
    row("(c) / its own unavoidable waits", 1.15, total / waited)
    if "e" in of:
        gap = _median(of["e"], lambda walk: walk.write_gap)
        row("(c) / (e), longest write gap", 1.2, _median(c, lambda walk: walk.write_gap) / gap)
    row("(c), restarts of healthy members", 0, max(walk.restarts for walk in c))
    if "d" in of:
        row("(d), seconds without PDB", 0, max(_total(walk.without_budget) for walk in of["d"]))
    return table(["goal", "at most", "measured", "met"], rows)


def waits(result: Replacements, walks: Sequence[Walk]) -> str:
    """The unavoidable waits of (c), each measured."""
    found: dict[str, list[float]] = {}
    for walk in walks:
        for name, seconds in unavoidable(result, walk).items():
            found.setdefault(name, []).append(seconds)
    rows = [[name, shown(spread(seconds))] for name, seconds in found.items()]
    total = spread(sum(unavoidable(result, walk).values()) for walk in walks)
    return table(["(c) cannot but wait for", "s"], [*rows, ["together", shown(total)]])


def steps(walks: Sequence[Walk]) -> str:
    """The steps of (c), as Temporal has them: from scheduled to finished."""
    found: dict[str, list[float]] = {}
    for walk in walks:
        for step in walk.steps:
            found.setdefault(step.name, []).append(step.seconds)
    return table(["step of (c)", "s"], [[f"`{name}`", shown(spread(s))] for name, s in found.items()])


def fleet(result: Fleets) -> str:
    """The sizes, a row each."""
    rows = [
        [
            f"{one.size}, real etcd" if one.etcd == REAL else str(one.size),
            ", ".join(f"{count} {name}" for name, count in one.outcomes.items()),
            f"{one.wall_seconds:.0f}",
            f"{60 * one.size / one.wall_seconds:.0f}",
            shown(one.seconds),
            f"{one.seconds.maximum / one.seconds.median:.2f}",
            f"{one.worker_cpu_seconds / one.size:.2f}",
            f"{one.worker_peak_mib:.0f}",
            f"{(one.worker_peak_mib - one.worker_idle_mib) / one.size:.2f}",
            f"{one.requests / one.size:.0f}",
            f"{one.temporal_share:.0%}",
        ]
        for one in result.fleets
    ]
    head = (
        *("at once", "ended", "wall, s", "a minute", "each, s", "slowest / median", "worker CPU each, s"),
        *("peak, MiB", "MiB each", "requests each", "Temporal's share"),
    )
    settings = ", ".join(f"{name} {value:g}" for name, value in result.settings.items())
    return "\n\n".join([_place(result.machine), f"Settings: {settings}.", table(head, rows)])


def history(result: Histories) -> str:
    """The cases, a row each."""
    rows = [[one.case, str(one.bytes), str(one.events), str(one.heartbeats)] for one in result.sizes]
    return table(["", "bytes", "events", "heartbeats"], rows)


def startup(result: Startup) -> str:
    """One row for each figure."""
    rows = [
        ["`replace-etcd --help`, s", shown(result.help_seconds)],
        ["worker, from exec to its first poll, s", shown(result.first_poll_seconds)],
        ["idle worker, resident, MiB", shown(result.idle_mib)],
        *([f"import of `{name}`, s", shown(found)] for name, found in result.import_seconds.items()),
    ]
    return "\n\n".join([_place(result.machine), table(["", f"{result.help_seconds.runs} runs"], rows)])


def _place(found: Machine) -> str:
    return (
        f"{found.processor}, {found.cores} cores, {found.memory_gib:.0f} GiB, Linux {found.kernel}, Python"
        f" {found.python}, {found.temporal}; {found.measured_at:%Y-%m-%d %H:%M} UTC, load {found.load:g} before."
    )


def blocks() -> dict[str, str]:
    """Every table for which there are results, by the name of their file."""
    found: dict[str, str] = {}
    for file in sorted(RESULTS.glob("*.json")):
        text = file.read_text()
        match file.stem.partition("-")[0]:
            case "replacement":
                found[file.stem] = replacement(Replacements.model_validate_json(text))
            case "fleet":
                found[file.stem] = fleet(Fleets.model_validate_json(text))
            case "history":
                found[file.stem] = history(Histories.model_validate_json(text))
            case "startup":
                found[file.stem] = startup(Startup.model_validate_json(text))
    return found


def fill(document: str, made: dict[str, str]) -> str:
    """Put each table between its marks: `<!-- NAME -->` and `<!-- end -->`."""
    for name, text in made.items():
        before, begin, rest = document.partition(f"<!-- {name} -->\n")
        if begin:
            document = f"{before}{begin}{text}\n{rest[rest.index('<!-- end -->') :]}"
    return document


def write() -> Path:
    """Fill the document."""
    DOCUMENT.write_text(fill(DOCUMENT.read_text(), blocks()))
    return DOCUMENT
