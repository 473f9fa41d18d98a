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

from replace_etcd.answers import ANSWERS, command
from replace_etcd.models.phase import PAST_THE_REMOVAL, Phase
from replace_etcd.models.result import Progress, Step
from replace_etcd.replacements import Attempt

PATIENCE_SECONDS = 5.0
"""A step that runs for longer is named even where nothing moves."""
SILENT_SECONDS = 6.0
"""Activities heartbeat every two seconds."""
WAITS = {
    "approval": "waits for approval",
    "resolve": "holds, and waits for a decision",
    "node": "waits for its node",
}
ON_THE_WAY = (Phase.PREFLIGHT, Phase.PROTECTING, Phase.DRAINING, Phase.SNAPSHOTTING, *PAST_THE_REMOVAL)


class Narrator:
    """Prints lines, each with the time since it began to speak, or since `began`."""

    def __init__(
        self,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
        *,
        began: datetime | None = None,
    ) -> None:
        self.console = console
        self._clock = clock
        self._began = clock() - ((datetime.now(UTC) - began).total_seconds() if began else 0.0)

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

    def __init__(
        self,
        narrator: Narrator,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        workflow_id: str = "",
    ) -> None:
        self._narrator = narrator
        self._workflow_id = workflow_id
        self._now = now
        self._progress: Progress | None = None
        self._attempt: Attempt | None = None
        self._silent = False
        self._shown = 0
        self._named: object = None
        self._name_at = PATIENCE_SECONDS
        self._words: str | None = None
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
        asked = (progress.waiting_for, progress.deadline)
        if progress.waiting_for and self._said != asked:
            for line in question(self._workflow_id, progress):
                self._narrator.markup(line)
        self._said = asked

    def finished(self, steps: list[Step]) -> None:
        """Print the steps that were not printed before."""
        for step in steps[self._shown :]:
            self._narrator.markup(step_line(step), clip=True)
        self._shown = max(self._shown, len(steps))

    def _name_what_takes_long(self) -> None:
        """In a log: what is new of a step that takes long, but not every heartbeat of it."""
        progress, attempt, seconds = self._progress, self._attempt, self._seconds()
        if progress is None or seconds is None:
            return
        step = (progress.current, progress.current_since, attempt and attempt.number)
        if step != self._named:
            self._named, self._name_at, self._words = step, PATIENCE_SECONDS, None
        words = said(attempt)
        if seconds >= self._name_at and words != self._words:
            self._name_at, self._words = seconds + PATIENCE_SECONDS, words
            self._narrator.markup(f"… {progress.current} ({seconds:.0f} s so far){words}")

    def _moving(self) -> RenderableType:
        progress, seconds = self._progress, self._seconds()
        if progress is None:
            return Text("")
        what = Text.from_markup(f"[b]{_what(progress)}[/b]")
        if seconds is not None:
            what.append(f"  {seconds:.1f} s")
        what.append_text(Text.from_markup(said(self._attempt, self._now())))
        self._spinner.update(text=what)
        return Group(self._spinner, _one_line(phases(progress)))

    def _seconds(self) -> float | None:
        since = self._progress.current_since if self._progress and self._progress.current else None
        return None if since is None else max(0.0, (self._now() - since).total_seconds())


def said(attempt: Attempt | None, now: datetime | None = None) -> str:
    """Which attempt it is and after which failure, and what the last heartbeat said, as markup."""
    if attempt is None:
        return ""
    again = (
        f"  [yellow]attempt {attempt.number} after: {escape(attempt.failure)}[/]" if attempt.failure else ""
    )
    words = f"  {escape(attempt.words)}" if attempt.words else ""
    silent = (now - attempt.heard_at).total_seconds() if now and attempt.heard_at else 0.0
    late = f" [yellow](last heard of {silent:.0f} s ago)[/]" if silent > SILENT_SECONDS else ""
    return f"{again}{words}{late}"


def question(workflow_id: str, progress: Progress) -> list[str]:
    """What people have to decide, and the command for each choice, as lines of markup."""
    if not progress.waiting_for:
        return []
    until = f" until {progress.deadline.astimezone():%Y-%m-%d %H:%M}" if progress.deadline else ""
    why = f": {escape(progress.reason)}" if progress.reason else ""
    lines = [f"[b yellow]{_waiting(progress)}{until}[/]{why}"]
    for choice in (each for each in progress.choices if each in ANSWERS):
        lines.append(f"  [b]{escape(command(choice, workflow_id))}[/]  [dim]{ANSWERS[choice].meaning}[/]")
    return lines


def phases(progress: Progress) -> Text:
    """Where on the way it is: what is behind in green, what is ahead dim, the point of no return as a bar."""
    line = Text("  ")
    here = ON_THE_WAY.index(progress.phase) if progress.phase in ON_THE_WAY else None
    if here is None:
        return line.append(progress.phase.value.replace("_", " "), style="bold yellow")
    for number, phase in enumerate(ON_THE_WAY):
        line.append("▌" if phase is Phase.REMOVING else " " if number else "", style="red")
        style = "green" if number < here else "bold" if number == here else "dim"
        line.append(phase.value, style=style)
    return line


def _what(progress: Progress) -> str:
    return _waiting(progress) or progress.current or progress.phase.value.replace("_", " ")


def _waiting(progress: Progress) -> str:
    name = progress.waiting_for or ""
    return WAITS.get(name, f"waits for {name}" if name else "")


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
