"""The picture of a replacement over time: bars for its steps, bands for what was missing meanwhile. Pure.

A wait for people can be a thousand times as long as all steps together: long gaps without any step are drawn short,
and say how long they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from replace_etcd.audit.events import EventKind
from replace_etcd.audit.views import StepView, Story
from replace_etcd.models.result import Outcome

LEFT, WIDTH, ROW, TOP = 330.0, 1000.0, 24.0, 26.0
THINNEST = 3.0
SHORT_GAP = 0.12  # of the time in which something was done
GAP_WIDTH = 46.0
DELETED, PROTECTED = "delete_pod_disruption_budget", ("protect_survivors", "restore_pod_disruption_budget")
BESIDE = (EventKind.REJECTED, EventKind.ALERT)  # they change nothing of a run
NICE = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


@dataclass(frozen=True)
class Bar:
    """A step on the picture."""

    x: float
    width: float
    y: float
    label: str
    css: str
    retries: str
    title: str


@dataclass(frozen=True)
class Band:
    """Something that was missing for a while; `is_open` where it still was at the end."""

    label: str
    x: float
    width: float
    y: float
    css: str
    took: str
    is_open: bool


@dataclass(frozen=True)
class Tick:
    """A mark on the axis; `gap` where time was left out."""

    x: float
    label: str
    gap: bool = False


@dataclass(frozen=True)
class Timeline:
    """Everything that is drawn."""

    height: float
    bars: list[Bar]
    bands: list[Band]
    ticks: list[Tick]
    width: float = WIDTH


@dataclass(frozen=True)
class Window:
    """From when to when something was missing."""

    label: str
    css: str
    begin: datetime
    end: datetime
    is_open: bool = False


class _Scale:
    """Where a moment is on the picture."""

    def __init__(self, begin: datetime, end: datetime, busy: Sequence[tuple[datetime, datetime]]) -> None:
        self.gaps = _gaps(begin, end, busy)
        self._begin, self._end = begin, end
        shown = (end - begin).total_seconds() - sum(
            (until - since).total_seconds() for since, until in self.gaps
        )
        self.seconds_shown = max(shown, 0.001)
        self._unit = (WIDTH - LEFT - 14 - GAP_WIDTH * len(self.gaps)) / self.seconds_shown

    def x(self, moment: datetime) -> float:
        """Its place; inside of a gap, in proportion."""
        moment = min(max(moment, self._begin), self._end)
        shown, gaps = (moment - self._begin).total_seconds(), 0.0
        for since, until in self.gaps:
            if moment > since:
                left_out = (min(moment, until) - since).total_seconds()
                shown -= left_out
                gaps += GAP_WIDTH * left_out / (until - since).total_seconds()
        return LEFT + shown * self._unit + gaps

    def ticks(self) -> list[Tick]:
        """Some six marks, and one in the middle of each gap."""
        step = next((nice for nice in NICE if self.seconds_shown / nice <= 7), 7 * 86400)
        found, offset, total = [], 0.0, (self._end - self._begin).total_seconds()
        while offset <= total:
            moment = self._begin + timedelta(seconds=offset)
            gap = next((until for since, until in self.gaps if since < moment < until), None)
            if gap is None:
                found.append(Tick(self.x(moment), f"+{lasted(offset)}"))
                offset += step
            else:
                offset = ((gap - self._begin).total_seconds() // step + 1) * step
        middles = [
            Tick(self.x(since + (until - since) / 2), lasted((until - since).total_seconds()), gap=True)
            for since, until in self.gaps
        ]
        return found + middles


def timeline_of(story: Story) -> Timeline | None:
    """The picture; None where nothing was done."""
    if not story.steps:
        return None
    begin = min(story.replacement.started_at, story.steps[0].started_at)
    end = max([step.finished_at for step in story.steps] + [event.at for event in story.events])
    scale = _Scale(begin, end, [(step.started_at, step.finished_at) for step in story.steps])
    bands = [_band(window, scale, number) for number, window in enumerate(windows(story, end))]
    first = TOP + ROW * len(bands) + (8 if bands else 0)
    bars = [_bar(step, scale, first + ROW * number) for number, step in enumerate(story.steps)]
    return Timeline(first + ROW * len(bars) + 26, bars, bands, scale.ticks())


def windows(story: Story, end: datetime) -> list[Window]:
    """What the user cluster was without, and how long."""
    found = []
    deleted = _done(story, DELETED)
    if deleted:
        back = next(
            (step for name in PROTECTED for step in story.steps if step.name == name and not step.error), None
        )
        until = back.finished_at if back else end
        found.append(Window("no PodDisruptionBudget", "nobudget", deleted.started_at, until, back is None))
    outcome = story.replacement.outcome
    if len(story.steps) > 1 and outcome not in (Outcome.PLANNED, Outcome.REFUSED, Outcome.DECLINED):
        voter = _done(story, "wait_for_voter")
        until = voter.finished_at if voter else end
        since = story.replacement.started_at
        found.append(Window("no fault tolerance", "nofault", since, until, voter is None))
    return found + _waits(story, end)


def lasted(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def _waits(story: Story, end: datetime) -> list[Window]:
    """Whenever people were asked, until the next thing that happened."""
    found = []
    for number, event in enumerate(story.events):
        if event.kind is EventKind.ASKED:
            label = "waits for people"
            later = [later.at for later in story.events[number + 1 :] if later.kind not in BESIDE]
            found.append(Window(label, "waits", event.at, later[0] if later else end, not later))
    return found


def _done(story: Story, name: str) -> StepView | None:
    return next((step for step in story.steps if step.name == name and not step.error), None)


def _gaps(
    begin: datetime, end: datetime, busy: Sequence[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """Stretches without any step that would push everything else together."""
    free, reached = [], begin
    for since, until in sorted(busy):
        if since > reached:
            free.append((reached, since))
        reached = max(reached, until)
    if end > reached:
        free.append((reached, end))
    idle = sum((until - since).total_seconds() for since, until in free)
    worked = max((end - begin).total_seconds() - idle, 1.0)
    return [gap for gap in free if (gap[1] - gap[0]).total_seconds() > max(SHORT_GAP * worked, 2.0)]


def _bar(step: StepView, scale: _Scale, y: float) -> Bar:
    x = scale.x(step.started_at)
    width = max(scale.x(step.finished_at) - x, THINNEST)
    took = lasted((step.finished_at - step.started_at).total_seconds())
    css = "failed" if step.error else "drain" if step.name == "drain_node" else step.phase or "other"
    retries = f" · {step.attempts} attempts" if step.attempts > 1 else ""
    return Bar(x, width, y, step.summary or step.name, css, retries, f"{step.name}: {took}{retries}")


def _band(window: Window, scale: _Scale, number: int) -> Band:
    x = scale.x(window.begin)
    width = max(scale.x(window.end) - x, THINNEST)
    took = lasted((window.end - window.begin).total_seconds())
    return Band(window.label, x, width, TOP + ROW * number, window.css, took, window.is_open)
