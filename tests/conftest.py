"""Leaves out the tests whose needs (`@pytest.mark.needs("kubernetes")`) this machine does not meet, and says so.

Tests run side by side, since most of them wait: those of one file together, as they share what is started for them;
each end-to-end test by itself, since it starts its own; and everything on a real control plane one after the other,
since each of those takes a good part of a core even when it idles.

`make test-full` runs all; `make test` leaves out what would not fit its ten minutes, but for one of each sort; CI has
some minutes more.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.needs import NEEDS

ON_A_REAL_CONTROL_PLANE = re.compile(r"\[(.*-)?real(-.*)?\]")
BY_THEMSELVES = {"e2e", "attacks"}
MATRIX = "robustness/test_quick_tier"
LONG = (
    *("attacks/", "explorer/test_actors"),
    *("e2e/test_by_hand", "e2e/test_janitor", "e2e/test_refusals", "e2e/test_snapshot", "e2e/test_rbac"),
    *("e2e/test_api_server", "e2e/test_audit", "test_as_written_under_ordered_ready"),
    "test_it_can_be_looked_at_until_ctrl_c",
    # The fault matrix has these too.
    "robustness/test_left_alarm",
    "test_a_new_member_that_cannot_rejoin_leaves_existing_and_the_reason",
    "test_a_worker_killed_after_the_removal_is_succeeded_by_another",
    "test_a_cancel_during_the_drain_puts_everything_back",
)
ONE_OF_EACH_SORT = (
    "test_one_that_was_terminated_after_the_removal_is_finished_by_the_next",
    "test_a_runbook_left_after_any_step_is_finished[simulated-OrderedReady-6]",
    "test_a_strategy_restored_before_the_removal_rolls_back",
    "test_a_first_patch_that_comes_after_its_compensation_is_refused",
    "test_after_the_removal_the_words_lead_to_three_voters[cleaning]",
    "test_a_run_terminated_during_the_drain_is_rolled_back_by_the_schedule",
    "test_a_good_snapshot_is_kept_whole_and_can_be_restored",
    "test_one_that_is_killed_in_the_middle_of_steps[the worst steps-real]",
    "test_a_drain_of_the_node_uses_each_right_and_no_other[real]",
    "test_one_that_was_terminated_in_the_middle_shows_with_what_happened_to_it_and_so_does_the_next",
    "test_a_changed_byte_is_found_by_the_checksum_and_final_at_last",
)
MINUTES = (
    "e2e/test_judged",
    "test_from_the_start_form_to_the_end",
    *(
        "test_a_good_snapshot_is_kept_whole_and_can_be_restored",
        "test_a_shape_that_is_not_carried_out_is_refused",
    ),
    "test_one_that_was_terminated_in_the_middle_shows_with_what_happened_to_it_and_so_does_the_next",
    "test_a_run_terminated_during_the_drain_is_rolled_back_by_the_schedule",
    "test_a_drain_that_is_blocked_is_rolled_back",
    "test_beside_others_and_under_a_budget_that_its_controller_makes_again",
    "test_ctrl_c_leaves_nothing_behind[done   cordon_node]",
    "test_looking_changes_nothing_and_refusals_name_their_evidence",
    "test_a_run_that_is_stopped_where_it_has_forgotten_what_it_began_puts_everything_back",
    "test_real_etcd_gives_the_answers_of_the_table",  # the model of it gives them in every run
    *(
        f"test_an_answer_that_comes_right_after_the_end_of_a_delivery_replays[{answer}-False]"
        for answer in ("decline", "abandon", "confirm_node_down", "abort")
    ),
    "test_the_demo_replaces_the_member_and_reports[simulated]",  # `make demo` is a command of its own
    # Of the lab and the demo, not of the product.
    "test_a_worker_that_dies_is_named_with_its_last_words",
    *("test_a_hung_member_looks_well", "test_the_leader_is_found", "test_nobody_breaks_what_is_not_there"),
    "test_a_destroyed_member_crash_loops_and_the_others_serve_on[simulated",
    "test_objects_and_versions_outlive_the_api_server[simulated]",
    *("test_etcd_needs_no_api_server", "test_two_labs_side_by_side", "test_a_directory_holds_one_lab"),
    "test_what_a_dead_lab_left_is_taken_away",
)
"""What CI runs in every run, and `make test` elsewhere has no time for."""
LEFT_OUT: pytest.StashKey[Counter[str]] = pytest.StashKey()
TOLD: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker, since markers are strict; no test writes into the audit of whoever runs it."""
    os.environ["REPLACE_ETCD_AUDIT"] = ""
    config.addinivalue_line("markers", f"needs(*names): what the test needs, of {', '.join(NEEDS)}")
    config.stash[LEFT_OUT] = Counter()
    config.stash[TOLD] = []


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Say something in the closing lines."""
    return pytestconfig.stash[TOLD].append


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what cannot run here."""
    present = {name: need.present() for name, need in NEEDS.items()}
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        names = [name for mark in item.iter_markers("needs") for name in mark.args]
        if any(part in item.nodeid for part in LONG) and not item.nodeid.endswith(ONE_OF_EACH_SORT):
            names.append("time")
        if any(part in item.nodeid for part in MINUTES):
            names.append("minutes")
        missing = [name for name in names if not present[name]]
        (left_out if missing else kept).append(item)
        config.stash[LEFT_OUT].update(missing[:1])
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    items[:] = sorted(kept, key=lambda item: _short(item.nodeid))


def _short(nodeid: str) -> int:
    """What takes minutes begins first, so that no worker is left alone with it at the end."""
    if ON_A_REAL_CONTROL_PLANE.search(nodeid) or MATRIX in nodeid:
        return 0
    return 1 if _by_itself(nodeid) else 2


def _by_itself(nodeid: str) -> bool:
    return bool(BY_THEMSELVES & set(Path(nodeid.partition("::")[0]).parts))


class SideBySide(LoadScopeScheduling):
    """What is run by one worker, one after the other."""

    def _split_scope(self, nodeid: str) -> str:
        if ON_A_REAL_CONTROL_PLANE.search(nodeid):
            return "a real control plane"
        return nodeid if _by_itself(nodeid) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SideBySide:
    """Instead of one of xdist's own distributions; in the order of the collection, not by the number of tests."""
    config.option.loadscopereorder = False
    return SideBySide(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells the controller, which itself collects nothing."""
    if hasattr(session.config, "workeroutput"):
        counts = session.config.stash[LEFT_OUT]
        session.config.workeroutput["left_out"] = dict(counts)
        session.config.workeroutput["told"] = session.config.stash[TOLD]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker has collected the same: what one says holds for all."""
    config: pytest.Config = node.config  # of the controller: the worker's own is elsewhere
    said: dict[str, int] | None = getattr(node, "workeroutput", {}).get("left_out")
    if said is not None:
        config.stash[LEFT_OUT] = Counter(said)
    config.stash[TOLD] += getattr(node, "workeroutput", {}).get("told", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the tests have to say, and in one line what was left out and why."""
    for line in config.stash[TOLD]:
        terminalreporter.write_line(line)
    if counts := config.stash[LEFT_OUT]:
        reasons = "; ".join(f"{count} ({NEEDS[name].missing})" for name, count in sorted(counts.items()))
        terminalreporter.write_line(f"Left out for what this machine lacks: {reasons}.", yellow=True)
