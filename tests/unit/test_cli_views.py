"""How progress reads: the same lines in a log and on a terminal, where one more line moves."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta

from rich.console import Console

from replace_etcd.cli.views import Narrator, ProgressView
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Progress, Step
from replace_etcd.replacements import Attempt

START = datetime(2026, 1, 1, tzinfo=UTC)
WORKFLOW_ID = "replace-etcd.user-cluster-1"


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
        self.view = ProgressView(
            Narrator(console, clock=lambda: 12.0), now=lambda: self.now, workflow_id=WORKFLOW_ID
        )

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
    printed = Screen().show(waits, waits)
    assert printed.count("waits for approval") == 1
    assert printed.count("replace-etcd approve user-cluster-1") == 1


def test_one_that_holds_says_why_and_what_can_be_typed() -> None:
    holds = Progress(
        phase=Phase.HELD,
        waiting_for="resolve",
        choices=["resolve retry", "resolve abandon"],
        reason="add_member: [no] quorum",
    )
    printed = Screen().show(holds)
    assert "holds, and waits for a decision: add_member: [no] quorum" in printed
    assert "replace-etcd resolve retry user-cluster-1" in printed
    assert "replace-etcd resolve abandon user-cluster-1 --reason WHY" in printed


def test_a_choice_of_a_later_worker_is_not_in_the_way() -> None:
    later = Progress(phase=Phase.HELD, waiting_for="a better idea", choices=["improvise"])
    assert "waits for a better idea" in Screen().show(later)


def test_the_last_heartbeat_says_how_far_it_is_and_when_it_was_heard() -> None:
    screen = Screen(terminal=True)
    screen.now = START + timedelta(seconds=20)
    running = Progress(phase=Phase.DRAINING, current="drain_node", current_since=START)
    attempt = Attempt(1, "", "2 of 5 pods gone", START + timedelta(seconds=8))
    printed = screen.show(running, attempt=attempt)
    assert "2 of 5 pods gone" in printed
    assert "last heard of 12 s ago" in printed


def test_in_a_log_not_every_heartbeat_is_a_line() -> None:
    screen = Screen()
    running = Progress(phase=Phase.REJOINING, current="promote_member", current_since=START)
    with screen.view:
        for second in range(17):
            screen.now = START + timedelta(seconds=second)
            screen.view.update(running, Attempt(1, words=f"{100 - second} behind"))
    lines = screen.file.getvalue().splitlines()
    assert [line.split()[-2:] for line in lines] == [["95", "behind"], ["90", "behind"], ["85", "behind"]]


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
    assert "preflight protecting draining snapshotting▌removing cleaning" in re.sub(
        r"\x1b\[[\d;]*m", "", printed
    )


def test_a_long_note_takes_one_line_of_a_terminal() -> None:
    screen = Screen(terminal=True)
    printed = screen.show(Progress(phase=Phase.DRAINING, steps=[step("cordon_node", note="x" * 200)]))
    assert "x" * 120 not in printed
    assert "…" in printed
