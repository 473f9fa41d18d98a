"""Leaves out the tests whose needs (`@pytest.mark.needs("kubernetes")`) this machine does not meet, and says so."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.needs import NEEDS

LEFT_OUT: pytest.StashKey[Counter[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker, since markers are strict."""
    config.addinivalue_line("markers", f"needs(*names): what the test needs, of {', '.join(NEEDS)}")
    config.stash[LEFT_OUT] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what cannot run here."""
    present = {name: need.present() for name, need in NEEDS.items()}
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        names = [name for mark in item.iter_markers("needs") for name in mark.args]
        missing = [name for name in names if not present[name]]
        (left_out if missing else kept).append(item)
        config.stash[LEFT_OUT].update(missing[:1])
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line what was left out and why."""
    if counts := config.stash[LEFT_OUT]:
        reasons = "; ".join(f"{count} ({NEEDS[name].missing})" for name, count in sorted(counts.items()))
        terminalreporter.write_line(f"Left out for what this machine lacks: {reasons}.", yellow=True)
