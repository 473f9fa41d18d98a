"""The explorer's own verdict on hand-written stories: a judge that never failed is not to be trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.judge import Sighting
from replace_etcd.models.result import Outcome
from tests.robustness.explorer.schedule import Fault, schedule_of
from tests.robustness.explorer.sight import Entry, Glance, Sight
from tests.robustness.explorer.story import RunStory, removals
from tests.robustness.explorer.verdict import Excuses, ending, verdict
from tests.robustness.judge import ON_DELETE, Listed, Look, Pod, Story

NAMES = ("kube-etcd-0", "kube-etcd-1", "kube-etcd-2")
OLD = (Listed("a0", NAMES[0]), Listed("a1", NAMES[1]), Listed("a2", NAMES[2]))
REMOVED = (OLD[0], OLD[2])
LEARNER = (OLD[0], Listed("b1", NAMES[1], learner=True), OLD[2])
NEW = (OLD[0], Listed("b1", NAMES[1]), OLD[2])
ROLLING = {"type": "RollingUpdate"}
BEFORE = Look(
    budget={"minAvailable": 2},
    flag="new",
    strategy=ROLLING,
    template={"spec": {}},
    pods={name: Pod("new", ready=True) for name in NAMES},
    unschedulable=False,
    members=OLD,
    on_disk=frozenset(NAMES),
)
STORY = Story(
    failed=NAMES[1],
    pinned="a1",
    before=BEFORE,
    after=replace(BEFORE, members=NEW),
    outcome=Outcome.REPLACED,
    removed=("a1",),
    sightings=tuple(Sighting(name, f"uid-{name}", 0) for name in NAMES),
    acknowledged=frozenset({"k1"}),
    read={name: frozenset({"k1"}) for name in NAMES},
)
GLANCES = [
    Glance(0.0, "new", ROLLING, has_budget=True, members=OLD),
    Glance(1.0, "existing", ON_DELETE, has_budget=False, members=OLD),
    Glance(2.0, "existing", ON_DELETE, has_budget=True, members=REMOVED),
    Glance(3.0, "existing", ON_DELETE, has_budget=True, members=()),
    Glance(4.0, "existing", ON_DELETE, has_budget=True, members=LEARNER),
    Glance(5.0, "new", ON_DELETE, has_budget=True, members=NEW),
    Glance(6.0, "new", ROLLING, has_budget=True, members=NEW),
]
INNOCENT = Excuses()
ENTRIES = [
    Entry("u", "run-1", attempt="x", until=30.0, made=0.0),
    Entry("u", "run-1", attempt="", until=2.0, made=2.0),
    Entry("u", "run-1", attempt="y", until=32.0, made=2.0),
    Entry("u", "run-2", attempt="z", until=70.0, made=40.0),
]
SIGHT = Sight(GLANCES, ENTRIES)
KILLED = replace(STORY, sightings=(*STORY.sightings, Sighting(NAMES[0], f"uid-{NAMES[0]}", 2)))
DELETED = replace(STORY, sightings=(*STORY.sightings, Sighting(NAMES[0], f"uid-{NAMES[0]}", 0, deleted=True)))


def found(
    story: Story = STORY, sight: Sight = SIGHT, excuses: Excuses = INNOCENT, *, keeps: bool = False
) -> str:
    return "; ".join(verdict(story, sight, excuses, keeps_budget=keeps))


def glanced(number: int, **changes: object) -> Sight:
    changed = [replace(g, **changes) if at == number else g for at, g in enumerate(GLANCES)]  # type: ignore[arg-type]
    return Sight(changed, ENTRIES)


def test_a_clean_run() -> None:
    assert not found()


def test_a_killed_survivor_is_excused_and_a_deleted_one_is_not() -> None:
    killed = Excuses(killed=frozenset({NAMES[0]}))
    assert "restarted" in found(KILLED)
    assert not found(KILLED, excuses=killed)
    assert "restarted" in found(DELETED, excuses=killed)
    assert "restarted" in found(KILLED, excuses=Excuses(killed=frozenset({NAMES[2]})))


@pytest.mark.parametrize("number", [2, 4])
def test_a_template_that_would_bootstrap_while_a_voter_is_missing(number: int) -> None:
    assert "the flag is not `existing`" in found(sight=glanced(number, flag="new"))
    assert "not OnDelete" in found(sight=glanced(number, strategy=ROLLING))


def test_a_survivor_that_is_no_member_for_a_moment() -> None:
    assert "a survivor is no member" in found(sight=glanced(4, members=(LEARNER[1], OLD[2])))


def test_a_budget_that_is_missing() -> None:
    assert "after the removal" in found(sight=glanced(2, has_budget=False))
    assert not found(sight=glanced(2, has_budget=False), excuses=Excuses(budget_deleted=True))
    assert "was to be kept" in found(keeps=True)
    assert not found(sight=glanced(1, has_budget=True), keeps=True)


def test_a_budget_that_nobody_could_bring_back() -> None:
    gone = replace(STORY, after=replace(STORY.after, budget=None))
    assert "the PodDisruptionBudget is None" in found(gone, excuses=Excuses(budget_deleted=True))
    assert not found(gone, excuses=Excuses(budget_deleted=True, budget_lost=True))
    other = replace(STORY, after=replace(STORY.after, budget={"maxUnavailable": 0}))
    assert "maxUnavailable" in found(other, excuses=Excuses(budget_deleted=True, budget_lost=True))


def test_an_attempt_that_acts_in_the_time_of_another() -> None:
    early = replace(ENTRIES[3], made=31.0)
    assert "taken from run-1 by run-2 1.0 s" in found(sight=Sight(GLANCES, [*ENTRIES[:3], early]))
    another = replace(early, uid="v")
    assert not found(sight=Sight(GLANCES, [*ENTRIES[:3], another]))


def test_a_removal_of_anybody_else_counts_though_etcd_may_have_refused_it() -> None:
    sent = removals(
        ["/exec?command=etcdctl&command=member&command=remove&command=a2&output=1", "/exec?command=ls"]
    )
    assert sent == ["a2"]
    assert "a2 was removed" in found(replace(STORY, removed=("a1", *sent)))


def test_the_world_says_how_it_ended() -> None:
    assert ending(["a0", "a1", "a2"], "a1") is Outcome.ROLLED_BACK
    assert ending(["a0", "b1", "a2"], "a1") is Outcome.REPLACED


def test_an_excuse_is_only_what_was_done() -> None:
    story = RunStory(schedule_of(1), "3.5.35", lambda: 0.0)
    kill = Fault("survivor-kill", params={"replica": NAMES[0]})
    deletion = Fault("kubectl-delete-pdb")
    story.acted(kill)
    story.acted(deletion)
    assert story.excuses() == Excuses(killed=frozenset({NAMES[0]}), budget_deleted=True)
    story.became(deletion, "not there")
    assert story.excuses() == Excuses(killed=frozenset({NAMES[0]}))


def test_a_story_says_how_to_understand_it() -> None:
    story = RunStory(schedule_of(7), "3.5.35", lambda: 1.5)
    story.tell("started")
    story.findings.append("a survivor was restarted")
    assert "seed    7 FAILED" in story.line()
    assert "seed 7: " in story.text()
    assert "1.5 s  started" in story.text()
    assert "- a survivor was restarted" in story.text()
