"""How progress reads: the same lines in a log and on a terminal, where one more line moves."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from replace_etcd.cli.views import Narrator, ProgressView
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Progress, Step
from replace_etcd.replacements import Attempt

START = datetime(2026, 1, 1, tzinfo=UTC)


def step(name: str, *, attempts: int = 1, note: str = "", error: str = "") -> Step:
    return Step(
        name=name,
        started_at=START,
        finished_at=START + timedelta(seconds=1.5),
        attempts=attempts,
        note=note,
        error=error,
    )


class Screen:
    """A console that remembers, and a view on it with clocks of its own."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.now = START
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=terminal, width=120, highlight=False, _environ={})
        self.view = ProgressView(Narrator(console, clock=lambda: 12.0), now=lambda: self.now)

    def show(self, *states: Progress | None, attempt: Attempt | None = None) -> str:
        with self.view:
            for state in states:
                self.view.update(state, attempt)
        return self.file.getvalue()


def test_each_step_is_printed_once_when_it_is_done() -> None:
    first = Progress(phase=Phase.PREFLIGHT, steps=[step("preflight", note="27 ok")])
    second = Progress(phase=Phase.DRAINING, steps=[*first.steps, step("cordon_node", attempts=2)])
    printed = Screen().show(first, first, second).splitlines()
    assert len(printed) == 2
    assert "done   preflight " in printed[0]
    assert "1.50 s  27 ok" in printed[0]
    assert "cordon_node" in printed[1]
    assert "in 2 attempts" in printed[1]


def test_a_step_that_failed_says_why() -> None:
    printed = Screen().show(
        Progress(phase=Phase.DRAINING, steps=[step("drain_node", error="[blocked] by x")])
    )
    assert "failed drain_node" in printed
    assert "[blocked] by x" in printed


def test_a_step_that_takes_long_is_named_with_its_trouble() -> None:
    screen = Screen()
    running = Progress(phase=Phase.DRAINING, current="drain_node", current_since=START)
    screen.now = START + timedelta(seconds=2)
    assert screen.show(running) == ""
    screen.now = START + timedelta(seconds=9)
    printed = screen.show(running, running, attempt=Attempt(3, "429"))
    assert printed.count("drain_node (9 s so far)  attempt 3 after: 429") == 1


def test_it_says_what_a_person_has_to_decide() -> None:
    waits = Progress(phase=Phase.WAITING_FOR_APPROVAL, waiting_for="approval", choices=["approve", "decline"])
    assert Screen().show(waits, waits).count("waits for approval: approve or decline") == 1


def test_a_worker_that_falls_silent_is_said_once() -> None:
    alive = Progress(phase=Phase.DRAINING)
    printed = Screen().show(alive, None, None, alive)
    assert printed.count("does not answer") == 1
    assert printed.count("answers again") == 1


def test_on_a_terminal_the_current_step_moves_below_the_finished_ones() -> None:
    screen = Screen(terminal=True)
    screen.now = START + timedelta(seconds=3)
    state = Progress(
        phase=Phase.DRAINING, steps=[step("cordon_node")], current="drain_node", current_since=START
    )
    printed = screen.show(state)
    assert "cordon_node" in printed
    assert "drain_node" in printed
    assert "draining, step 2" in printed


def test_a_long_note_takes_one_line_of_a_terminal() -> None:
    screen = Screen(terminal=True)
    printed = screen.show(Progress(phase=Phase.DRAINING, steps=[step("cordon_node", note="x" * 200)]))
    assert "x" * 120 not in printed
    assert "…" in printed
