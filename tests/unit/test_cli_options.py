"""The command line before anything is contacted: it answers at once, and its words are those of the models."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from lab.models import Fault
from lab.options import LabOptions
from replace_etcd.cli import app, options
from replace_etcd.cli.answers import ChoiceName
from replace_etcd.cli.exits import OF_OUTCOME, Exit
from replace_etcd.models.request import Choice, DrainMode, JoinAs, PdbMode
from replace_etcd.models.result import Outcome

COMMANDS = (
    *("plan", "start", "take-over", "approve", "decline", "resolve", "abort", "confirm-node-down"),
    *("watch", "status", "list", "doctor"),
)


@pytest.mark.parametrize(
    "words", [[], *([name] for name in COMMANDS), ["demo"], ["lab"], ["lab", "up"], ["lab", "break"]]
)
def test_every_command_explains_itself(words: list[str]) -> None:
    answer = CliRunner().invoke(app, [*words, "--help"])
    assert answer.exit_code == 0
    assert "Usage: replace-etcd" in answer.output


@pytest.mark.parametrize("name", [*COMMANDS, "api"])
def test_every_command_for_temporal_takes_the_options_of_the_temporal_cli(name: str) -> None:
    answer = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    for option in ("--address", "--namespace", "--profile", "--config-file"):
        assert option in answer.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_reads_speaks_json(name: str) -> None:
    reads = name not in ("approve", "decline", "resolve", "abort", "confirm-node-down")
    assert ("--json" in CliRunner().invoke(app, [name, "--help"]).output) == reads


def test_every_exit_code_is_in_the_help() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    codes = re.sub(r"\s+", " ", said).partition("Exit codes: ")[2].partition(").")[0]
    assert {int(code) for code in re.findall(r"(?:^|; )(\d+) ", codes)} == {*map(int, Exit)}


def test_help_loads_none_of_the_heavy_libraries() -> None:
    heavy = ("temporalio", "aiohttp", "lab", "kubernetes", "sqlalchemy", "asyncio")
    program = f"""
import sys
from typer.testing import CliRunner
from replace_etcd.cli import app
assert CliRunner().invoke(app, ["start", "--help"]).exit_code == 0
sys.exit(", ".join(name for name in {heavy} if name in sys.modules) or 0)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.stderr.strip(), ended.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("spelled", "known"),
    [
        (options.FaultName, get_args(Fault)),
        (options.JoinAsName, tuple(JoinAs)),
        (options.OutcomeName, tuple(Outcome)),
        (ChoiceName, tuple(Choice)),
        (options.PdbModeName, tuple(PdbMode)),
        (options.DrainModeName, tuple(DrainMode)),
        (options.ControlPlaneName, get_args(LabOptions.model_fields["kubernetes"].annotation)),
        (options.PodManagementName, get_args(LabOptions.model_fields["pod_management"].annotation)),
    ],
)
def test_the_values_of_options_are_those_of_the_models(spelled: Any, known: tuple[str, ...]) -> None:
    assert set(get_args(spelled)) == set(known)


def test_every_outcome_has_its_exit_code() -> None:
    assert OF_OUTCOME == {
        Outcome.PLANNED: 0,
        Outcome.REPLACED: 0,
        Outcome.REFUSED: 3,
        Outcome.DECLINED: 3,
        Outcome.ROLLED_BACK: 4,
        Outcome.CANCELLED: 5,
        Outcome.LEFT_INCOMPLETE: 6,
        Outcome.INTERRUPTED: 6,
    }
    assert set(OF_OUTCOME) == set(Outcome)
