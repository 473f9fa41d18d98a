"""Judges a replacement by what was seen of it: pure functions, which know neither traffic nor faults.

What must hold follows from how the replacement ended; what must never happen holds always. Each rule says in a
sentence what is wrong; an empty list is a clean story. The judge has tests of its own with good and bad stories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.judge import Sighting, lost_writes, restarts
from replace_etcd.models.result import Outcome

Json = dict[str, Any]
ON_DELETE = {"type": "OnDelete"}
EXISTING = "existing"
EVERYTHING_BACK = (Outcome.ROLLED_BACK, Outcome.CANCELLED, Outcome.REFUSED, Outcome.DECLINED)


@dataclass(frozen=True)
class Listed:
    """A member as etcd lists it."""

    id: str
    name: str
    learner: bool = False

    @property
    def is_started_voter(self) -> bool:
        """Whether it counts and has joined."""
        return bool(self.name) and not self.learner


@dataclass(frozen=True)
class Pod:
    """A pod of the StatefulSet: its flag is the one in its own arguments."""

    flag: str
    ready: bool


@dataclass(frozen=True)
class Look:
    """Everything that a replacement touches, at one moment."""

    budget: Json | None
    """The spec of the PodDisruptionBudget."""
    flag: str
    strategy: Json
    template: Json
    pods: Mapping[str, Pod]
    unschedulable: bool
    members: tuple[Listed, ...]
    on_disk: frozenset[str]
    """The replicas with `member/` in their data directory."""
    marks: tuple[str, ...] = ()
    """Annotations of ours on any object, as `OBJECT: KEY`."""
    utility_pods: tuple[str, ...] = ()
    recorded: str | None = None
    """The reason in the record; None where there is no record, empty where it gives none."""


@dataclass(frozen=True)
class Story:
    """What was seen from before the first step to after the last."""

    failed: str
    pinned: str
    before: Look
    after: Look
    outcome: Outcome
    removed: tuple[str, ...]
    """The id of every member that was ever removed."""
    sightings: tuple[Sighting, ...]
    acknowledged: frozenset[str]
    read: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What each member has, asked of it alone."""


def judge(story: Story) -> list[str]:
    """Everything that is wrong with it."""
    found = [*_never(story), *_always(story)]
    if story.outcome is Outcome.REPLACED:
        found += _replaced(story)
    elif story.outcome in EVERYTHING_BACK:
        found += _as_before(story)
    else:
        found += _at_rest(story)
    return found


def _never(story: Story) -> Iterator[str]:
    """What no outcome excuses."""
    for identity in story.removed:
        if identity != story.pinned:
            yield f"member {identity} was removed, not only the pinned {story.pinned}"
    for name, count in restarts(story.sightings, story.failed).items():
        yield f"survivor {name} was restarted {count} times"
    voters = [member.name for member in story.after.members if member.is_started_voter]
    unread = [name for name in voters if name not in story.read and name != _still_failed(story)]
    if unread:
        yield f"voters that do not answer: {', '.join(unread)}"
    read = {name: keys for name, keys in story.read.items() if name in voters}
    for name, count in lost_writes(story.acknowledged, read).items():
        if count:
            yield f"{name} lacks {count} of {len(story.acknowledged)} acknowledged writes"
    for name in voters:
        if name not in story.after.on_disk and (name in story.before.on_disk or name != _still_failed(story)):
            yield f"voter {name} has no member/ on its disk"


def _still_failed(story: Story) -> str:
    """The failed replica, as long as it is listed under its old id: it neither answers nor need it have data."""
    listed = any(member.id == story.pinned for member in story.after.members)
    return story.failed if listed else ""


def _always(story: Story) -> Iterator[str]:
    """What has to be back, however it ended."""
    before, after = story.before, story.after
    if after.budget != before.budget:
        yield f"the PodDisruptionBudget is {after.budget}, not {before.budget}"
    if after.unschedulable != before.unschedulable:
        yield f"the node is {'un' if after.unschedulable else ''}schedulable, unlike before"
    for mark in after.marks:
        if mark not in before.marks:
            yield f"an annotation is left: {mark}"
    for name in after.utility_pods:
        yield f"the utility Pod {name} is left"
    if set(after.pods) != set(before.pods):
        yield f"the pods are {sorted(after.pods)}, not {sorted(before.pods)}"


def _template_as_before(story: Story) -> Iterator[str]:
    before, after = story.before, story.after
    if after.flag != before.flag:
        yield f"the flag of the template is {after.flag}, not {before.flag}"
    elif after.template != before.template:
        yield "the template is not as before"
    if after.strategy != before.strategy:
        yield f"the update strategy is {after.strategy}, not {before.strategy}"
    for name, pod in after.pods.items():
        if pod.flag != before.flag:
            yield f"pod {name} carries {pod.flag} in its arguments, not {before.flag}"


def _replaced(story: Story) -> Iterator[str]:
    yield from _template_as_before(story)
    if story.after.recorded is not None:
        yield "the record is left"
    members = story.after.members
    if any(member.id == story.pinned for member in members):
        yield f"the pinned member {story.pinned} is still listed"
    voters = sum(member.is_started_voter for member in members)
    wanted = len(story.before.members)
    if voters != wanted or len(members) != wanted:
        yield f"{voters} started voters of {len(members)} members, not {wanted}"
    for name, pod in story.after.pods.items():
        if not pod.ready:
            yield f"pod {name} is not Ready"


def _as_before(story: Story) -> Iterator[str]:
    yield from _template_as_before(story)
    if story.after.recorded is not None:
        yield "the record is left"
    if set(story.after.members) != set(story.before.members):
        yield f"the members are {story.after.members}, not {story.before.members}"


def _at_rest(story: Story) -> Iterator[str]:
    """Past the removal: nobody restarts anything, `existing` until all are voters again, and the reason is told."""
    before, after = story.before, story.after
    if not after.recorded:
        yield "no reason is recorded"
    if after.strategy not in (ON_DELETE, before.strategy):
        yield f"the update strategy is {after.strategy}"
    whole = sum(member.is_started_voter for member in after.members) == len(before.members)
    whole = whole and all(member.id != story.pinned for member in after.members)
    if after.flag != EXISTING and not whole:
        yield f"the flag of the template is {after.flag} while a voter is missing"
    differing = [name for name, pod in after.pods.items() if pod.flag != after.flag]
    if differing and after.strategy != ON_DELETE:
        yield f"a rollout would restart {', '.join(differing)}: the update strategy is {after.strategy}"
