"""The words of the record: for any record, a script that a shell accepts and that decides on the safe side."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from activities import node, pod_disruption_budget
from replace_etcd.by_hand import instructions, steps
from replace_etcd.models.phase import BEFORE_THE_REMOVAL, PAST_THE_REMOVAL, Phase
from replace_etcd.models.plan import Backup, FlagPlace, Pins
from replace_etcd.models.record import TAKEN_BY_HAND, Record
from replace_etcd.models.result import Outcome
from replace_etcd.settings import Settings
from tests.workflows.script import BACKUP, PINS

SETTINGS = Settings()
NOW = datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC)
OLD, NEW = "b1", "d4"
LIMIT = 100_000  # a ConfigMap may hold ten times as much
SURVIVORS = [
    "a0, started, kube-etcd-0, https://kube-etcd-0.kube-etcd:2380, https://kube-etcd-0.kube-etcd:2379, false",
    "c2, started, kube-etcd-2, https://kube-etcd-2.kube-etcd:2380, https://kube-etcd-2.kube-etcd:2379, false",
]
PEER, CLIENT = "https://kube-etcd-1.kube-etcd:2380", "https://kube-etcd-1.kube-etcd:2379"
UNSTARTED = f"{NEW}, unstarted, , {PEER}, , false"
LEARNER = f"{NEW}, started, kube-etcd-1, {PEER}, {CLIENT}, true"
VOTER = f"{NEW}, started, kube-etcd-1, {PEER}, {CLIENT}, false"
FAILED = f"{OLD}, started, kube-etcd-1, {PEER}, {CLIENT}, false"
SHELL_STRING = FlagPlace(
    pointer="/spec/template/spec/containers/0/command/2",
    original="exec etcd --name='$(POD_NAME)' \\\n  --initial-cluster-state=new\n",
    existing="exec etcd --name='$(POD_NAME)' \\\n  --initial-cluster-state=existing\n",
)


def record(phase: Phase = Phase.CLEANING, **changes: Any) -> Record:
    made = Record(
        temporal_cluster_id="temporal-1",
        temporal_namespace="default",
        workflow_id="replace-etcd.user-cluster-1",
        first_run_id="run-1",
        run_id="run-1",
        generation=7,
        phase=phase,
        furthest=phase,
        until=NOW,
        started_at=NOW,
        updated_at=NOW,
        replica="kube-etcd-1",
        node="node-2",
        member_id=OLD,
        pins=PINS,
        backup=BACKUP,
    )
    return made.model_copy(update=changes)


def pinned(**changes: Any) -> Pins:
    return PINS.model_copy(update=changes)


def commands(words: str) -> list[str]:
    """What a shell sees."""
    return [line for line in words.splitlines() if line and not line.startswith("#")]


def accepted_by_a_shell(words: str) -> bool:
    return subprocess.run(["sh", "-n"], input=words, text=True, check=False).returncode == 0


some_pins = st.one_of(
    st.none(),
    st.sampled_from([PINS, pinned(survivors=[])]),
    st.builds(
        pinned,
        member_id=st.text(),
        member_name=st.text(),
        peer_urls=st.lists(st.text()),
        node=st.text(),
        join_as_learner=st.booleans(),
        survivors=st.lists(st.sampled_from(PINS.survivors), max_size=3),
        flag=st.builds(FlagPlace, pointer=st.text(), original=st.text(), existing=st.text()),
        update_strategy=st.dictionaries(st.text(), st.text()),
        data_path=st.text(),
    ),
)
backups = st.one_of(
    st.none(), st.builds(Backup, manifest=st.none() | st.dictionaries(st.text(), st.text() | st.integers()))
)


@given(
    phase=st.sampled_from(Phase),
    furthest=st.sampled_from(Phase),
    outcome=st.none() | st.sampled_from(Outcome),
    pins=some_pins,
    backup=backups,
    reason=st.text(),
    replica=st.text(),
)
@examples(max_examples=300, deadline=None)
def test_there_are_words_for_any_record(
    phase: Phase,
    furthest: Phase,
    outcome: Outcome | None,
    pins: Pins | None,
    backup: Backup | None,
    reason: str,
    replica: str,
) -> None:
    changes = {"furthest": furthest, "outcome": outcome, "pins": pins, "backup": backup}
    words = instructions(record(phase, **changes, reason=reason, replica=replica), SETTINGS)
    assert TAKEN_BY_HAND in words
    assert len(words) < LIMIT


@pytest.mark.parametrize("outcome", [None, Outcome.LEFT_INCOMPLETE])
@pytest.mark.parametrize("phase", Phase)
def test_a_shell_accepts_the_words_of_each_phase(phase: Phase, outcome: Outcome | None) -> None:
    for changes in ({}, {"pins": None}, {"backup": None}, {"backup": Backup()}):
        assert accepted_by_a_shell(instructions(record(phase, outcome=outcome, **changes), SETTINGS))
    odd = pinned(flag=SHELL_STRING, join_as_learner=False)
    assert accepted_by_a_shell(instructions(record(phase, outcome=outcome, pins=odd), SETTINGS))


def test_a_reason_cannot_become_a_command() -> None:
    plain = instructions(record(), SETTINGS)
    told = instructions(record(reason="the node is gone\nrm -rf /\r\nreboot"), SETTINGS)
    assert "the node is gone rm -rf / reboot" in " ".join(told.replace("\n# ", " ").split())
    assert commands(told) == commands(plain)


@pytest.mark.parametrize("phase", BEFORE_THE_REMOVAL)
def test_before_the_removal_nothing_is_removed_added_or_wiped(phase: Phase) -> None:
    words = "\n".join(commands(instructions(record(phase), SETTINGS)))
    assert all(word not in words for word in ("member remove", "member add", "rm -rf", "move-leader"))
    assert '"value": "--initial-cluster-state=new"' in words


@pytest.mark.parametrize("phase", PAST_THE_REMOVAL)
def test_after_the_removal_the_flag_goes_back_only_behind_three_healthy_voters(phase: Phase) -> None:
    words = instructions(record(phase), SETTINGS)
    before, _, after = words.partition(
        '"op": "replace", "path": "/spec/template/spec/containers/0/args/3",'
        ' "value": "--initial-cluster-state=new"'
    )
    assert after
    assert "\nwait_until healthy\n" in before
    assert '"value": {"type": "RollingUpdate"}' not in before


@pytest.mark.parametrize("furthest", PAST_THE_REMOVAL)
def test_a_hold_does_not_bring_the_way_back(furthest: Phase) -> None:
    for phase in (Phase.HELD, Phase.ROLLING_BACK):
        words = instructions(record(phase, furthest=furthest), SETTINGS)
        assert "Nothing is removed" not in words


def test_a_hold_before_the_removal_leads_back() -> None:
    words = instructions(record(Phase.HELD, furthest=Phase.PROTECTING), SETTINGS)
    assert "Nothing is removed" in words


def test_a_record_without_pins_is_taken_over_and_nothing_else() -> None:
    words = "\n".join(commands(instructions(record(pins=None), SETTINGS)))
    assert "kubectl -n user-cluster-1 patch configmap kube-etcd-replacement" in words
    assert all(word not in words for word in ("delete", "member", "apply", "statefulset kube-etcd"))


def test_the_words_name_things_as_the_steps_do() -> None:
    assert node.HOLDER_PREFIX == steps.CORDON
    assert node.EXCLUSIVE == steps.EXCLUSIVE
    assert pod_disruption_budget.TEMPORARY == steps.TEMPORARY


class Terminal:
    """The names of the first step, with a kubectl that prints what a test wants, or fails."""

    def __init__(self, directory: Path, words: str) -> None:
        self._directory = directory
        self._names = words.split("\n\n")[2]
        assert self._names.startswith("# 1.")

    def kubectl(self, script: str) -> None:
        """What stands for kubectl."""
        file = self._directory / "kubectl"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def lists(self, *members: str) -> None:
        """The members that every survivor lists."""
        self.kubectl("\n".join(f"echo '{member}'" for member in members))

    def says(self, question: str) -> bool:
        """The answer to a question."""
        script = f"{self._names}\n{question} >/dev/null 2>&1"
        path = f"{self._directory}:/usr/local/bin:/usr/bin:/bin"
        return subprocess.run(["sh", "-c", script], env={"PATH": path}, check=False).returncode == 0


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, instructions(record(), SETTINGS))


@pytest.mark.parametrize(
    ("members", "true"),
    [
        ([*SURVIVORS], {"removed", "absent"}),
        ([*SURVIVORS, FAILED], {"listed", "started", "voter"}),
        ([*SURVIVORS, UNSTARTED], {"removed", "listed", "unstarted"}),
        ([*SURVIVORS, LEARNER], {"removed", "listed", "started"}),
        ([*SURVIVORS, VOTER], {"removed", "listed", "started", "voter"}),
    ],
)
def test_what_the_questions_answer(terminal: Terminal, members: list[str], true: set[str]) -> None:
    terminal.lists(*members)
    questions = ["removed", "absent", "listed", "unstarted", "started", "voter"]
    assert {question for question in questions if terminal.says(question)} == true


@pytest.mark.parametrize(
    "question", ["removed", "absent", "listed", "unstarted", "started", "voter", "healthy"]
)
def test_a_question_that_cannot_be_asked_is_not_answered_with_yes(terminal: Terminal, question: str) -> None:
    terminal.kubectl("exit 1")
    assert not terminal.says(question)
    terminal.kubectl("true")  # it succeeds, and says nothing
    assert not terminal.says(question)


def test_one_survivor_that_does_not_answer_is_enough_not_to_wipe(terminal: Terminal) -> None:
    listing = "\n".join(f"echo '{member}'" for member in SURVIVORS)
    terminal.kubectl(f'case "$*" in *kube-etcd-2*) exit 1 ;; esac\n{listing}')
    assert not terminal.says("absent")
    assert not terminal.says("removed")


def test_one_survivor_that_still_lists_the_member_is_enough_not_to_wipe(terminal: Terminal) -> None:
    listing = "\n".join(f"echo '{member}'" for member in SURVIVORS)
    terminal.kubectl(f"""{listing}\ncase "$*" in *"exec kube-etcd-2"*) echo '{FAILED}' ;; esac""")
    assert not terminal.says("absent")
    assert not terminal.says("removed")


@pytest.mark.parametrize(
    ("changes", "current"),
    [
        ({}, True),
        ({"phase": Phase.ADDING, "furthest": Phase.ADDING}, False),
        ({"phase": Phase.HELD}, False),
        ({"outcome": Outcome.LEFT_INCOMPLETE}, False),
    ],
)
def test_words_of_a_record_that_has_moved_on_are_not_current(
    terminal: Terminal, tmp_path: Path, changes: dict[str, Any], current: bool
) -> None:
    (tmp_path / "record.json").write_text(record(**changes).to_data()["record.json"])
    terminal.kubectl(f"cat {tmp_path}/record.json")
    assert terminal.says("words_are_current") is current


@pytest.mark.parametrize(("until", "over"), [(NOW, True), (datetime(2999, 1, 1, tzinfo=UTC), False)])
def test_the_lease_of_the_last_attempt_is_waited_out(
    terminal: Terminal, tmp_path: Path, until: datetime, over: bool
) -> None:
    (tmp_path / "record.json").write_text(record(until=until).to_data()["record.json"])
    terminal.kubectl(f"cat {tmp_path}/record.json")
    assert terminal.says("date() { echo 20260701120031; }; nobody_acts") is over


def test_a_lease_that_cannot_be_read_is_not_over(terminal: Terminal) -> None:
    terminal.kubectl("exit 1")
    assert not terminal.says("nobody_acts")


def test_a_person_s_name_stays_in_the_record() -> None:
    taken = record(taken_by_hand="ann")
    assert taken.to_data()[TAKEN_BY_HAND] == "ann"
    assert Record.from_data(taken.to_data()) == taken
    assert TAKEN_BY_HAND not in record().to_data()
