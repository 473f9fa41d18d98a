"""Judges an operation by what is left of the writes, the pods and the protection of the user cluster.

Pure functions over what was seen; they have tests of their own with good and bad stories (tests/lab/test_judge.py),
since a judge that never failed is not to be trusted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lab.models import Judgement


@dataclass(frozen=True)
class Sighting:
    """A pod as it was seen at one moment: which object, how often its containers had been restarted, its end."""

    pod: str
    uid: str
    restarts: int
    deleted: bool = False


@dataclass(frozen=True)
class Presence:
    """From this moment on the PodDisruptionBudget was there, or was not."""

    moment: float
    present: bool


def lost_writes(acknowledged: Collection[str], read: Mapping[str, Collection[str]]) -> dict[str, int]:
    """How many acknowledged keys each member that could be read does not have."""
    return {member: len(set(acknowledged) - set(keys)) for member, keys in read.items()}


def lost_anywhere(acknowledged: Collection[str], read: Mapping[str, Collection[str]]) -> int:
    """How many acknowledged keys at least one of the members that could be read does not have."""
    if not read:
        return len(set(acknowledged))
    everywhere = set.intersection(*(set(keys) for keys in read.values()))
    return len(set(acknowledged) - everywhere)


def restarts(sightings: Iterable[Sighting], failed: str | None) -> dict[str, int]:
    """Containers restarted and pods deleted since the first sighting, of all pods but the failed one."""
    found: dict[str, dict[str, list[Sighting]]] = {}
    for seen in sightings:
        found.setdefault(seen.pod, {}).setdefault(seen.uid, []).append(seen)
    counts = {pod: _restarts_of(list(lives.values())) for pod, lives in found.items() if pod != failed}
    return {pod: count for pod, count in counts.items() if count}


def _restarts_of(lives: list[list[Sighting]]) -> int:
    """A pod that was deleted counts once, whether it came back or not; the first life's restarts from where it was."""
    deleted = sum(any(seen.deleted for seen in life) for life in lives)
    known_before = lives[0][0].restarts
    in_place = sum(max(seen.restarts for seen in life) for life in lives) - known_before
    return max(deleted, len(lives) - 1) + in_place


def seconds_without(presences: Iterable[Presence], until: float) -> float:
    """For how long, all in all, the PodDisruptionBudget was missing."""
    total, missing_since = 0.0, None
    for change in presences:
        if not change.present and missing_since is None:
            missing_since = change.moment
        elif change.present and missing_since is not None:
            total, missing_since = total + change.moment - missing_since, None
    return total + (until - missing_since if missing_since is not None else 0.0)


def judge(
    *,
    acknowledged: Collection[str],
    read: Mapping[str, Collection[str]],
    unread: Iterable[str],
    sightings: Iterable[Sighting],
    presences: Iterable[Presence],
    failed: str | None,
    until: float,
) -> Judgement:
    """Put the single judgements together; a member that could not be read is named, not passed over."""
    restarted = restarts(sightings, failed)
    return Judgement(
        lost_writes=lost_anywhere(acknowledged, read),
        lost_by_member=lost_writes(acknowledged, read),
        unread_members=sorted(unread),
        survivor_restarts=sum(restarted.values()),
        restarted=sorted(restarted),
        seconds_without_pdb=round(seconds_without(presences, until), 3),
    )
