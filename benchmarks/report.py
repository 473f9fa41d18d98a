"""Writes docs/benchmarks.md and the picture from the results; the README shows the picture once there is one."""

from __future__ import annotations

from pathlib import Path

from benchmarks import drawing, tables
from benchmarks.models import RESULTS, Replacements
from benchmarks.say import say

README = Path(__file__).parent.parent / "README.md"
ALTERNATIVE = "one replacement by hand and by this product, on one time axis"


def run() -> None:
    """Write what there are results for."""
    main = RESULTS / "replacement.json"
    if main.exists():
        drawn = drawing.write(Replacements.model_validate_json(main.read_text()))
        say(f"written: {drawn}")
        for document in (tables.DOCUMENT, README):
            shown = f"![{ALTERNATIVE}]({drawn.relative_to(document.parent)})"
            document.write_text(tables.fill(document.read_text(), {"timeline": shown}))
    say(f"written: {tables.write()}")
