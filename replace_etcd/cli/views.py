"""How progress looks: a line for each step that is done, and on a terminal one more that moves.

Finished steps are printed above the moving line and stay, so that the view works at any height of the window and
reads the same in a log file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from replace_etcd.models.result import Progress, Step
from replace_etcd.replacements import Attempt

PATIENCE_SECONDS = 5.0
"""A step that runs for longer is named even where nothing moves."""


class Narrator:
    """Prints lines, each with the time since it began to speak."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self._clock = clock
        self._began = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    def say(self, text: str) -> None:
        """One line of plain text."""
        self.markup(escape(text))

    def markup(self, text: str, *, clip: bool = False) -> None:
        """One line in Rich's markup; with `clip` it never takes two lines of a terminal."""
        line = f"[dim]{self.elapsed:6.1f} s[/]  {text}"
        if clip and self.console.is_terminal:
            self.console.print(line, no_wrap=True, overflow="ellipsis")
        else:
            self.console.print(line, soft_wrap=True)


def step_line(step: Step) -> str:
    """A step that is done, as one line of markup."""
    seconds = (step.finished_at - step.started_at).total_seconds()
    sign = "[red]failed[/]" if step.error else "[green]done[/]  "
    times = f" in {step.attempts} attempts" if step.attempts > 1 else ""
    said = escape(step.error or step.note or step.summary)
    return f"{sign} {step.name:<32}{seconds:6.2f} s{times}  [dim]{said}[/]"


class ProgressView:
    """Shows a `Progress` that grows; a context manager, since a terminal must be given back as it was."""

    def __init__(self, narrator: Narrator, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._narrator = narrator
        self._now = now
        self._progress: Progress | None = None
        self._attempt: Attempt | None = None
        self._silent = False
        self._shown = 0
        self._named: object = None
        self._said: object = None
        console = narrator.console
        self._spinner = Spinner("line")
        self._live = (
            Live(console=console, get_renderable=self._moving, refresh_per_second=8, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, progress: Progress | None, attempt: Attempt | None = None) -> None:
        """Take in the newest state; what is new in it is printed. None: the worker does not answer."""
        if (progress is None) != self._silent:
            self._silent = progress is None
            answers = "does not answer: the replacement waits for it" if self._silent else "answers again"
            self._narrator.say(f"the worker {answers}")
        if progress is None:
            return
        self._progress, self._attempt = progress, attempt
        self.finished(progress.steps)
        if self._live is None:
            self._name_what_takes_long()
        if progress.waiting_for and self._said != progress.waiting_for:
            self._narrator.say(f"waits for {progress.waiting_for}: {' or '.join(progress.choices)}")
        self._said = progress.waiting_for

    def finished(self, steps: list[Step]) -> None:
        """Print the steps that were not printed before."""
        for step in steps[self._shown :]:
            self._narrator.markup(step_line(step), clip=True)
        self._shown = max(self._shown, len(steps))

    def _name_what_takes_long(self) -> None:
        progress, seconds = self._progress, self._seconds()
        if progress is None or seconds is None or seconds < PATIENCE_SECONDS:
            return
        state = (progress.current, progress.current_since, self._attempt)
        if state != self._named:
            self._named = state
            self._narrator.markup(f"… {progress.current} ({seconds:.0f} s so far){_again(self._attempt)}")

    def _moving(self) -> RenderableType:
        progress, seconds = self._progress, self._seconds()
        if progress is None:
            return Text("")
        waiting = f", waits for {progress.waiting_for}" if progress.waiting_for else ""
        what = Text.from_markup(f"[b]{progress.current or progress.phase.value}[/b]")
        if seconds is not None:
            what.append(f"  {seconds:.1f} s")
        what.append_text(Text.from_markup(_again(self._attempt)))
        self._spinner.update(text=what)
        phase = f"{progress.phase.value.replace('_', ' ')}{waiting}"
        footer = f"  {phase}, step {len(progress.steps) + 1}, {self._narrator.elapsed:.0f} s"
        return Group(self._spinner, Text(footer, style="dim", no_wrap=True, overflow="ellipsis"))

    def _seconds(self) -> float | None:
        since = self._progress.current_since if self._progress and self._progress.current else None
        return None if since is None else max(0.0, (self._now() - since).total_seconds())


def _again(attempt: Attempt | None) -> str:
    if attempt is None:
        return ""
    return f"  [yellow]attempt {attempt.number} after: {escape(attempt.failure)}[/]"
