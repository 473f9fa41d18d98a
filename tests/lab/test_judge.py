"""The judge sees what went wrong, and only that: good and bad stories, told without an etcd."""

from __future__ import annotations

from lab.judge import Presence, Sighting, judge, lost_anywhere, lost_writes, restarts, seconds_without
from lab.models import Judgement

MEMBERS = ("kube-etcd-0", "kube-etcd-1", "kube-etcd-2")
CALM = [Sighting(name, f"uid-{name}", 0) for name in MEMBERS]
THERE = [Presence(0.0, present=True)]


def verdict(
    *,
    acknowledged: set[str] | None = None,
    read: dict[str, set[str]] | None = None,
    unread: list[str] | None = None,
    sightings: list[Sighting] | None = None,
    presences: list[Presence] | None = None,
) -> Judgement:
    written = acknowledged if acknowledged is not None else {"a", "b"}
    return judge(
        acknowledged=written,
        read=read if read is not None else dict.fromkeys(MEMBERS, written),
        unread=unread or [],
        sightings=sightings if sightings is not None else CALM,
        presences=presences if presences is not None else THERE,
        failed="kube-etcd-1",
        until=100.0,
    )


def test_a_calm_operation_is_judged_clean() -> None:
    """Nothing lost, nothing restarted, protected all the time."""
    clean = verdict()
    assert (clean.lost_writes, clean.survivor_restarts, clean.seconds_without_pdb) == (0, 0, 0.0)
    assert not clean.unread_members


def test_a_key_missing_on_one_member_alone_is_a_lost_write() -> None:
    """A member that lacks an acknowledged key will serve its absence to somebody."""
    read = {"kube-etcd-0": {"a", "b"}, "kube-etcd-1": {"a"}, "kube-etcd-2": {"a", "b"}}
    judged = verdict(read=read)
    assert judged.lost_writes == 1
    assert judged.lost_by_member == {"kube-etcd-0": 0, "kube-etcd-1": 1, "kube-etcd-2": 0}


def test_keys_missing_on_different_members_are_counted_once_each() -> None:
    """The number is of writes, not of members."""
    assert lost_anywhere({"a", "b", "c"}, {"x": {"a", "b"}, "y": {"a", "c"}}) == 2


def test_unknown_writes_that_arrived_are_not_held_against_anybody() -> None:
    """More keys than were acknowledged are no loss."""
    assert lost_writes({"a"}, {"x": {"a", "unknown"}}) == {"x": 0}


def test_no_member_could_be_read_means_everything_is_lost() -> None:
    """Silence is not a pass."""
    judged = verdict(read={}, unread=list(MEMBERS))
    assert judged.lost_writes == 2
    assert judged.unread_members == list(MEMBERS)


def test_a_split_cluster_loses_what_the_other_half_took() -> None:
    """The replaced member bootstrapped a cluster of its own and knows nothing."""
    assert verdict(read={"kube-etcd-0": {"a", "b"}, "kube-etcd-1": set()}).lost_writes == 2


def test_restarts_of_the_failed_member_do_not_count() -> None:
    """It crash-loops and is re-created: that is the operation."""
    story = [*CALM, Sighting("kube-etcd-1", "uid-kube-etcd-1", 7), Sighting("kube-etcd-1", "new", 1)]
    assert restarts(story, "kube-etcd-1") == {}


def test_a_container_of_a_survivor_restarted_in_place_counts() -> None:
    """Two restarts of one container are two."""
    story = [
        *CALM,
        Sighting("kube-etcd-2", "uid-kube-etcd-2", 1),
        Sighting("kube-etcd-2", "uid-kube-etcd-2", 2),
    ]
    assert restarts(story, "kube-etcd-1") == {"kube-etcd-2": 2}


def test_restarts_from_before_the_operation_do_not_count() -> None:
    """A survivor that had restarted once long ago has not been restarted by us."""
    story = [Sighting("kube-etcd-0", "u", 3), Sighting("kube-etcd-0", "u", 3)]
    assert restarts(story, "kube-etcd-1") == {}


def test_a_survivor_that_was_recreated_counts_once() -> None:
    """Its deletion and its new object are one restart."""
    ended = Sighting("kube-etcd-2", "uid-kube-etcd-2", 0, deleted=True)
    assert restarts([*CALM, ended, Sighting("kube-etcd-2", "new", 0)], "kube-etcd-1") == {"kube-etcd-2": 1}


def test_a_survivor_deleted_and_never_recreated_counts() -> None:
    """What OrderedReady does to the runbook as it is written."""
    ended = Sighting("kube-etcd-2", "uid-kube-etcd-2", 0, deleted=True)
    assert restarts([*CALM, ended], "kube-etcd-1") == {"kube-etcd-2": 1}


def test_a_recreation_whose_end_was_not_seen_counts_too() -> None:
    """A watch may break at the wrong moment."""
    assert restarts([*CALM, Sighting("kube-etcd-0", "new", 0)], None) == {"kube-etcd-0": 1}


def test_the_time_without_protection_is_added_up() -> None:
    """Deleted, put back as a protection, replaced by the original."""
    story = [
        Presence(0, present=True),
        Presence(10, present=False),
        Presence(11.5, present=True),
        Presence(20, present=False),
        Presence(20.25, present=True),
    ]
    assert seconds_without(story, until=30) == 1.75


def test_protection_that_never_came_back_counts_until_now() -> None:
    """A forgotten PodDisruptionBudget."""
    assert seconds_without([Presence(0, present=True), Presence(10, present=False)], until=25) == 15
