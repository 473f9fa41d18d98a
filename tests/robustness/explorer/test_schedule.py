"""A schedule is told whole by its seed, and stays within what a replacement can be asked to survive."""

from __future__ import annotations

from collections import Counter

from replace_etcd.models.request import ReplacementRequest
from tests.robustness.explorer.actors import actors
from tests.robustness.explorer.schedule import CRASHES, KINDS, STEPS, schedule_of
from tests.robustness.explorer.stage import LIMITS
from workflows import options

SEEDS = range(400)
HURTS = ("survivor-kill", "survivor-pause", "survivor-cut")
NOT_FOR_GOOD = 15.0


def test_a_seed_tells_all_of_its_schedule() -> None:
    assert [schedule_of(seed) for seed in SEEDS] == [schedule_of(seed) for seed in SEEDS]
    assert len({str(schedule_of(seed)).partition(":")[2] for seed in SEEDS}) == len(SEEDS)


def test_every_kind_of_fault_occurs_and_has_an_actor() -> None:
    occurred = Counter(fault.kind for seed in SEEDS for _, fault in schedule_of(seed).faults)
    assert set(occurred) == set(KINDS) == set(actors())
    assert min(occurred.values()) >= 10, occurred


def test_every_replica_damage_and_policy_occurs() -> None:
    schedules = [schedule_of(seed) for seed in SEEDS]
    assert len({(s.replica, s.damage, s.pod_management) for s in schedules}) == 3 * 4 * 2


def test_every_step_of_the_product_is_a_moment() -> None:
    """A step that is not named here would never be met."""
    conditional = {"disarm_alarm_of_removed_member", "note_hold", "delete_pod_of_dead_node"}
    known = set(options.FORWARD) | set(options.PAST_THE_POINT_OF_NO_RETURN)
    assert known - conditional <= set(STEPS)
    occurred = {moment.step for seed in SEEDS for moment, _ in schedule_of(seed).faults}
    assert set(STEPS) <= occurred


def test_several_faults_to_a_run_and_all_of_them_end() -> None:
    for seed in SEEDS:
        schedule = schedule_of(seed)
        assert 2 <= len(schedule.faults) <= 5
        assert all(fault.seconds <= 45 for _, fault in schedule.faults)


def test_one_survivor_is_hurt_at_a_time_and_not_for_good() -> None:
    for seed in SEEDS:
        schedule = schedule_of(seed)
        hurting = [fault for _, fault in schedule.faults if fault.kind in HURTS]
        victims = {fault.params["replica"] for fault in hurting}
        victims |= {fault.params["one"] for _, fault in schedule.faults if fault.kind == "partition"}
        assert len(victims) <= 1
        assert victims <= set(schedule.survivors)
        assert all(fault.seconds < NOT_FOR_GOOD for fault in hurting)


def test_where_a_kill_may_corrupt_nobody_is_killed() -> None:
    kinds = {fault.kind for seed in SEEDS for _, fault in schedule_of(seed, crashes=False).faults}
    assert kinds == set(KINDS) - set(CRASHES)


def test_every_request_is_one_that_the_product_accepts() -> None:
    for seed in SEEDS:
        wanted = {"user_cluster": "u", "limits": LIMITS, **schedule_of(seed).request}
        ReplacementRequest.model_validate(wanted)
