"""What was seen, turned into windows and waits; pure, on the clock of the witness (tests/unit/test_benchmarks.py)."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.models import Span
from benchmarks.witness import Life, Seen
from lab.models import Member

VOTERS = 3


def without_budget(changes: Sequence[tuple[float, bool]], begin: float, end: float) -> list[Span]:
    """When the budget was not there."""
    spans, since = [], None
    for moment, present in changes:
        if not present and since is None:
            since = max(moment, begin)
        elif present and since is not None:
            spans.append((since, moment))
            since = None
    if since is not None:
        spans.append((since, end))
    return [_span("no PodDisruptionBudget", first, last, begin) for first, last in spans if first < end]


def without_tolerance(
    lists: Sequence[tuple[float, list[Member]]], failed_id: str, begin: float, end: float
) -> tuple[list[Span], bool]:
    """From the removal until three started voters; and whether that never came."""
    removed = next((at for at, members in lists if failed_id not in {m.id for m in members}), None)
    if removed is None:
        return [], False
    whole = next((at for at, members in lists if at > removed and _voters(members) == VOTERS), None)
    last = end if whole is None else whole
    return [_span("no fault tolerated", removed, last, begin)], whole is None


def _voters(members: list[Member]) -> int:
    return sum(member.started and not member.learner for member in members)


def _span(name: str, first: float, last: float, begin: float) -> Span:
    return Span(name=name, begin=round(first - begin, 3), end=round(last - begin, 3))


def waits(seen: Seen, replica: str, utility: str, node: str) -> dict[str, float]:
    """How long the world took, by what it was waited for: the same whoever waits."""
    failed, *successors = seen.lives_of(replica)
    (mount,) = seen.lives_of(utility)[:1] or [Life(utility, "")]
    found = {
        "eviction of the failed pod": _between(failed.ending, failed.gone),
        "eviction of the node's other pods": _drained(seen, node, {replica, utility}),
        "start of the utility Pod": _between(mount.created or None, mount.ready),
        "end of the utility Pod": _between(mount.ending, mount.gone),
    }
    if successors:
        joined = successors[0]
        found["start and catch-up of the new member"] = _between(
            joined.scheduled, _later(joined.ready, _became_voter(seen))
        )
        if joined.ending is not None and len(successors) > 1:
            found["restart with its old flag"] = _between(joined.ending, successors[1].ready)
    return {name: round(seconds, 3) for name, seconds in found.items() if seconds}


def _drained(seen: Seen, node: str, others: set[str]) -> float:
    """From the first of the node's other pods that is told to end, to the end of the last."""
    ends = [
        (life.ending, life.gone)
        for life in seen.lives.values()
        if life.node == node and life.name not in others and life.ending and life.gone
    ]
    return max(gone for _, gone in ends) - min(ending for ending, _ in ends) if ends else 0.0


def _became_voter(seen: Seen) -> float | None:
    """When the list had three started voters again, after it had fewer members or a learner."""
    fewer = False
    for moment, members in seen.members:
        if _voters(members) < VOTERS:
            fewer = True
        elif fewer:
            return moment
    return None


def _later(one: float | None, other: float | None) -> float | None:
    return max(one, other) if one is not None and other is not None else one or other


def _between(first: float | None, last: float | None) -> float:
    return max(0.0, last - first) if first is not None and last is not None else 0.0
