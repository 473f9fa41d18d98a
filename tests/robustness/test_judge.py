"""The judge itself: it lets every good story pass, and finds the one thing that is wrong in each bad one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.judge import Sighting
from replace_etcd.models.result import Outcome
from tests.robustness.judge import Listed, Look, Pod, Story, judge

NAMES = ("kube-etcd-0", "kube-etcd-1", "kube-etcd-2")
FAILED = "kube-etcd-1"
BUDGET = {"minAvailable": 2}
ROLLING = {"type": "RollingUpdate"}
ON_DELETE = {"type": "OnDelete"}
KEYS = frozenset({"a", "b"})
OLD = (Listed("a0", NAMES[0]), Listed("a1", FAILED), Listed("a2", NAMES[2]))
NEW = (Listed("a0", NAMES[0]), Listed("ff", FAILED), Listed("a2", NAMES[2]))
AT_FIRST = Look(
    budget=BUDGET,
    flag="new",
    strategy=ROLLING,
    template={"flag": "new"},
    pods={name: Pod("new", ready=name != FAILED) for name in NAMES},
    unschedulable=False,
    members=OLD,
    on_disk=frozenset(NAMES),
)
AT_LAST = replace(AT_FIRST, members=NEW, pods={name: Pod("new", ready=True) for name in NAMES})
RESTING = replace(
    AT_FIRST,
    flag="existing",
    strategy=ON_DELETE,
    template={"flag": "existing"},
    members=(OLD[0], OLD[2]),
    on_disk=frozenset({NAMES[0], NAMES[2]}),
    pods={**AT_FIRST.pods, FAILED: Pod("existing", ready=False)},
    recorded="it did not rejoin",
)
SURVIVORS_READ = {NAMES[0]: KEYS, NAMES[2]: KEYS}
REPLACED = Story(
    failed=FAILED,
    pinned="a1",
    before=AT_FIRST,
    after=AT_LAST,
    outcome=Outcome.REPLACED,
    removed=("a1",),
    sightings=(
        Sighting(NAMES[0], "uid-0", 0),
        Sighting(FAILED, "uid-1", 7),
        Sighting(FAILED, "uid-1", 9, deleted=True),
        Sighting(FAILED, "uid-1b", 1),
        Sighting(NAMES[2], "uid-2", 3),
        Sighting(NAMES[2], "uid-2", 3),
    ),
    acknowledged=KEYS,
    read={**SURVIVORS_READ, FAILED: KEYS},
)
ROLLED_BACK = replace(REPLACED, after=AT_FIRST, outcome=Outcome.ROLLED_BACK, removed=(), read=SURVIVORS_READ)
LEFT = replace(REPLACED, after=RESTING, outcome=Outcome.LEFT_INCOMPLETE, read=SURVIVORS_READ)
ALMOST = replace(
    AT_LAST,
    strategy=ON_DELETE,
    recorded="no restart",
    pods={**AT_LAST.pods, FAILED: Pod("existing", ready=True)},
)

GOOD = {
    "replaced": REPLACED,
    "rolled back": ROLLED_BACK,
    "cancelled": replace(ROLLED_BACK, outcome=Outcome.CANCELLED),
    "refused": replace(ROLLED_BACK, outcome=Outcome.REFUSED),
    "rolled back with a wiped disk": replace(
        ROLLED_BACK,
        before=replace(AT_FIRST, on_disk=frozenset({NAMES[0], NAMES[2]})),
        after=replace(AT_FIRST, on_disk=frozenset({NAMES[0], NAMES[2]})),
    ),
    "left incomplete": LEFT,
    "interrupted": replace(LEFT, outcome=Outcome.INTERRUPTED),
    "left incomplete with a learner": replace(
        LEFT, after=replace(RESTING, members=(*RESTING.members, Listed("ff", "", learner=True)))
    ),
    "left incomplete before the last restart": replace(
        REPLACED, after=ALMOST, outcome=Outcome.LEFT_INCOMPLETE
    ),
    "a node that was cordoned before": replace(
        REPLACED,
        before=replace(AT_FIRST, unschedulable=True),
        after=replace(AT_LAST, unschedulable=True),
    ),
}


def ends(story: Story, **changes: object) -> Story:
    """The story with another end."""
    return replace(story, after=replace(story.after, **changes))  # type: ignore[arg-type]


BAD = {
    "another budget": (ends(REPLACED, budget={"minAvailable": 1}), "the PodDisruptionBudget is"),
    "no budget": (ends(ROLLED_BACK, budget=None), "the PodDisruptionBudget is"),
    "no budget at rest": (ends(LEFT, budget=None), "the PodDisruptionBudget is"),
    "the flag": (ends(REPLACED, flag="existing"), "the flag of the template"),
    "the template": (ends(ROLLED_BACK, template={"flag": "new", "image": "x"}), "the template is not"),
    "the strategy": (ends(REPLACED, strategy=ON_DELETE), "the update strategy"),
    "the flag of a pod": (
        ends(REPLACED, pods={**AT_LAST.pods, FAILED: Pod("existing", ready=True)}),
        "carries existing in its arguments",
    ),
    "the flag of a pod after a rollback": (
        ends(ROLLED_BACK, pods={**AT_FIRST.pods, FAILED: Pod("existing", ready=False)}),
        "carries existing in its arguments",
    ),
    "a pod that is not Ready": (ends(REPLACED, pods=AT_FIRST.pods), "is not Ready"),
    "a pod that is gone": (ends(ROLLED_BACK, pods={NAMES[0]: Pod("new", ready=True)}), "the pods are"),
    "a cordon": (ends(REPLACED, unschedulable=True), "the node is unschedulable"),
    "a cordon at rest": (ends(LEFT, unschedulable=True), "the node is unschedulable"),
    "an uncordoned node": (
        replace(REPLACED, before=replace(AT_FIRST, unschedulable=True)),
        "the node is schedulable",
    ),
    "an annotation": (ends(REPLACED, marks=("node n: replace-etcd/cordon.x",)), "an annotation is left"),
    "a utility Pod": (ends(ROLLED_BACK, utility_pods=("etcd-utility-1",)), "the utility Pod"),
    "a record": (ends(REPLACED, recorded=""), "the record is left"),
    "no reason": (ends(LEFT, recorded=""), "no reason is recorded"),
    "no record": (ends(LEFT, recorded=None), "no reason is recorded"),
    "another member removed": (replace(REPLACED, removed=("a1", "ff")), "member ff was removed"),
    "removed and rolled back": (
        replace(ends(ROLLED_BACK, members=(OLD[0], OLD[2])), removed=("a1",)),
        "the members are",
    ),
    "the old member": (ends(REPLACED, members=OLD), "is still listed"),
    "two voters": (ends(REPLACED, members=(OLD[0], OLD[2])), "2 started voters of 2"),
    "a learner": (
        ends(REPLACED, members=(OLD[0], OLD[2], Listed("ff", FAILED, learner=True))),
        "2 started voters of 3",
    ),
    "a survivor re-created": (
        replace(REPLACED, sightings=(*REPLACED.sightings, Sighting(NAMES[0], "uid-9", 0))),
        "survivor kube-etcd-0 was restarted",
    ),
    "a survivor restarted in place": (
        replace(REPLACED, sightings=(*REPLACED.sightings, Sighting(NAMES[2], "uid-2", 4))),
        "survivor kube-etcd-2 was restarted",
    ),
    "a lost write": (
        replace(REPLACED, read={**REPLACED.read, NAMES[2]: frozenset({"a"})}),
        "kube-etcd-2 lacks 1 of 2",
    ),
    "a write that the new member lacks": (
        replace(REPLACED, read={**REPLACED.read, FAILED: frozenset()}),
        "kube-etcd-1 lacks 2 of 2",
    ),
    "a voter that does not answer": (replace(REPLACED, read=SURVIVORS_READ), "do not answer: kube-etcd-1"),
    "a survivor that does not answer": (
        replace(ROLLED_BACK, read={NAMES[0]: KEYS}),
        "do not answer: kube-etcd-2",
    ),
    "an empty disk under a voter": (
        ends(REPLACED, on_disk=frozenset({NAMES[0], NAMES[2]})),
        "voter kube-etcd-1 has no member/",
    ),
    "a wipe that was rolled back": (
        ends(ROLLED_BACK, on_disk=frozenset({NAMES[0], NAMES[2]})),
        "voter kube-etcd-1 has no member/",
    ),
    "new at rest while a voter is missing": (
        ends(LEFT, flag="new", pods={**RESTING.pods, FAILED: Pod("new", ready=False)}),
        "the flag of the template is new while",
    ),
    "a strategy at rest that would restart survivors": (ends(LEFT, strategy=ROLLING), "would restart"),
    "a strange strategy at rest": (ends(LEFT, strategy={"type": "Other"}), "the update strategy is"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_story_passes(name: str) -> None:
    assert judge(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_in_a_bad_story_is_named(name: str) -> None:
    story, expected = BAD[name]
    found = judge(story)
    assert any(expected in wrong for wrong in found), found


def test_a_bad_story_names_nothing_else() -> None:
    story, expected = BAD["a lost write"]
    (found,) = judge(story)
    assert expected in found
