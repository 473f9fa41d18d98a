"""The verdict on one run: the judge of the matrix on how it ended, and what had to hold all the way. Pure.

Of the faults it knows two things only, both by name and from the story: which survivors were killed, since their
containers were restarted by that and not by us, and whether somebody's kubectl took the budget or the record away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from lab.judge import Sighting
from replace_etcd.models.result import Outcome
from tests.robustness.explorer.sight import Entry, Glance, Sight
from tests.robustness.judge import EXISTING, ON_DELETE, Story, judge


@dataclass(frozen=True)
class Excuses:
    """What was done to the scene that looks like harm and is none of ours."""

    killed: frozenset[str] = frozenset()
    budget_deleted: bool = False
    budget_lost: bool = False
    """It was deleted before anybody had a backup: nobody can be asked to bring it back."""


def verdict(story: Story, sight: Sight, excuses: Excuses, *, keeps_budget: bool) -> list[str]:
    """Everything that is wrong; an empty list is a clean run."""
    forgiven = replace(story, sightings=without_kills(story.sightings, excuses.killed))
    if excuses.budget_lost and story.after.budget is None:
        forgiven = replace(forgiven, before=replace(story.before, budget=None))
    return [
        *judge(forgiven),
        *_all_the_way(sight.glances, story, excuses, keeps_budget),
        *one_at_a_time(sight.entries),
    ]


def ending(story_members: Collection[str], pinned: str) -> Outcome:
    """How the world ended, whatever anybody says: the failed member is there still, or it was replaced."""
    return Outcome.ROLLED_BACK if pinned in story_members else Outcome.REPLACED


def without_kills(sightings: Collection[Sighting], killed: Collection[str]) -> tuple[Sighting, ...]:
    """A killed survivor's containers were restarted by the kill; that its pod stays the same one still counts."""
    return tuple(replace(seen, restarts=0) if seen.pod in killed else seen for seen in sightings)


def _all_the_way(glances: list[Glance], story: Story, excuses: Excuses, keeps_budget: bool) -> Iterator[str]:
    """The first breach of each rule is told."""
    wanted = len(story.before.members)
    rules: dict[str, Callable[[Glance], bool]] = {
        "a survivor is no member": lambda glance: bool(glance.members) and not _survivors_stay(glance, story),
        "the flag is not `existing` while a voter is missing": lambda glance: (
            _removed(glance, story) and _voters(glance) < wanted and glance.flag != EXISTING
        ),
        "the strategy is not OnDelete while a voter is missing": lambda glance: (
            _removed(glance, story) and _voters(glance) < wanted and glance.strategy != ON_DELETE
        ),
        "there is no PodDisruptionBudget after the removal": lambda glance: (
            _removed(glance, story) and not glance.has_budget and not excuses.budget_deleted
        ),
        "there is no PodDisruptionBudget though it was to be kept": lambda glance: (
            keeps_budget and not glance.has_budget and not excuses.budget_deleted
        ),
    }
    for rule, breaks in rules.items():
        breaches = [glance.at for glance in glances if breaks(glance)]
        if breaches:
            yield f"{rule}, seen {len(breaches)} times from {breaches[0]:.1f} s on"


def _removed(glance: Glance, story: Story) -> bool:
    """The list is of after the look at the template, so that it can only have come nearer to being whole."""
    return bool(glance.members) and all(member.id != story.pinned for member in glance.members)


def _voters(glance: Glance) -> int:
    return sum(member.is_started_voter for member in glance.members)


def _survivors_stay(glance: Glance, story: Story) -> bool:
    survivors = {member.id for member in story.before.members if member.id != story.pinned}
    return survivors <= {member.id for member in glance.members}


def one_at_a_time(entries: list[Entry]) -> Iterator[str]:
    """Nobody takes the record, under whatever name, while an attempt may still send changes; it may give it up."""
    for one, other in pairwise(entries):
        taken = one.uid == other.uid and other.attempt not in ("", one.attempt)
        if taken and other.made < one.until:
            early = one.until - other.made
            yield f"the record was taken from {one.chain} by {other.chain} {early:.1f} s before its time was over"
