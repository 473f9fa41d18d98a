"""The picture: the ways as bars on one time axis, with the windows without budget and without fault tolerance.

Plain SVG, with colours that can be told apart in light and dark pages alike; no font is embedded.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.models import Replacements, Span, Walk

FILE = Path(__file__).parent.parent / "docs" / "images" / "replacement-timeline.svg"
SHOWN = {
    "b": "the runbook by hand, with what it forgets",
    "c": "this product",
    "d": "this product, PDB kept, only the replica drained",
}
WIDTH, LEFT, RIGHT, TOP, ROW = 960, 20, 40, 40, 92
STEPS = ("#9ecae9", "#c9dff0")
BUDGET, TOLERANCE, TEXT, PAPER = "#e45756", "#f2a93b", "#1b1f24", "#ffffff"
NARROW = 46
"""A step narrower than this, in pixels, has its name as a tooltip only."""


def draw(result: Replacements) -> str:
    """The SVG, of the median run of each way."""
    walks = [walk for way in SHOWN if (walk := median_walk(result.walks, way)) is not None]
    scale = (WIDTH - LEFT - RIGHT) / max(walk.seconds for walk in walks)
    height = TOP + ROW * len(walks) + 56
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12">',
        "<title>One replacement by hand and by this product</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
    ]
    for number, walk in enumerate(walks):
        parts += _row(walk, TOP + ROW * number, scale)
    parts += _axis(walks, height - 40, scale)
    parts += _legend()
    return "\n".join([*parts, "</svg>", ""])


def median_walk(walks: Sequence[Walk], way: str) -> Walk | None:
    """The run of a way whose time is nearest to the median."""
    found = [walk for walk in walks if walk.way == way]
    if not found:
        return None
    middle = statistics.median(walk.seconds for walk in found)
    return min(found, key=lambda walk: abs(walk.seconds - middle))


def _row(walk: Walk, top: float, scale: float) -> list[str]:
    restarts = (
        f"{walk.restarts} restarts of healthy members" if walk.restarts else "no healthy member restarted"
    )
    head = f"({walk.way}) {SHOWN[walk.way]}: {walk.seconds:.1f} s, {restarts}"
    parts = [_text(head, LEFT, top, weight="600")]
    for number, span in enumerate(walk.steps):
        parts.append(_bar(span, top + 8, 26, STEPS[number % 2], scale, name=True))
    parts += [_bar(span, top + 40, 8, BUDGET, scale) for span in walk.without_budget]
    parts += [_bar(span, top + 52, 8, TOLERANCE, scale) for span in walk.without_tolerance]
    return parts


def _bar(span: Span, top: float, height: int, colour: str, scale: float, *, name: bool = False) -> str:
    left, width = LEFT + span.begin * scale, max(0.5, span.seconds * scale)
    words = span.name.replace("_", " ")
    bar = (
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}" fill="{colour}">'
        f"<title>{escape(words)}: {span.seconds:.1f} s</title></rect>"
    )
    if not name or width < NARROW:
        return bar
    shown = words if len(words) * 6 < width else words[: int(width / 6.5)] + "…"
    return bar + _text(shown, left + 4, top + 17, size=10)


def _axis(walks: list[Walk], top: float, scale: float) -> list[str]:
    last = int(max(walk.seconds for walk in walks))
    parts = []
    for second in range(0, last + 1, 5 if last < 60 else 10):
        x = LEFT + second * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{top}" stroke="#888" stroke-opacity="0.25"/>'
        )
        parts.append(_text(f"{second} s", x - 6, top + 14))
    return parts


def _legend() -> list[str]:
    parts, x = [], LEFT
    named = ((STEPS[0], "steps"), (BUDGET, "no PodDisruptionBudget"), (TOLERANCE, "no failure is tolerated"))
    for colour, words in named:
        parts.append(f'<rect x="{x}" y="8" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(words, x + 17, 18))
        x += 40 + 7 * len(words)
    return parts


def _text(words: str, x: float, y: float, *, size: int = 12, weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{TEXT}">'
        f"{escape(words)}</text>"
    )


def write(result: Replacements) -> Path:
    """Draw it into the documentation."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(draw(result))
    return FILE
