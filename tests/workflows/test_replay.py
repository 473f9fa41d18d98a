"""Runs that began before a change of the workflow's code must go on after it: recorded histories replay.

The histories of a released version are never recorded again. New ones, for new outcomes, come from
`python -m tests.workflows.record`, which refuses to overwrite.
"""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from replace_etcd.models.result import Outcome
from workflows.replace_etcd_replica import ReplaceEtcdReplica

HISTORY_FOLDER = Path(__file__).parent / "histories"
HISTORIES = sorted(HISTORY_FOLDER.glob("*.json"))
SO_FAR = {"planned", "replaced", "refused", "declined", "rolled_back", "cancelled", "left_incomplete"}


@pytest.mark.parametrize("name", [path.stem for path in HISTORIES])
async def test_a_recorded_history_replays(name: str) -> None:
    await replay(read(name))


def read(name: str) -> str:
    return (HISTORY_FOLDER / f"{name}.json").read_text()


async def replay(history: str) -> None:
    replayer = Replayer(workflows=[ReplaceEtcdReplica], data_converter=pydantic_data_converter)
    await replayer.replay_workflow(WorkflowHistory.from_json("replayed", history))


def test_there_is_a_history_for_every_outcome_that_a_run_can_end_with() -> None:
    ends = {json.loads(path.read_text())["outcome"] for path in HISTORIES}
    assert ends == SO_FAR <= {outcome.value for outcome in Outcome}


async def test_a_history_in_which_two_steps_are_swapped_does_not_replay() -> None:
    """The judge is judged: a replay that accepts anything would be worth nothing."""
    swapped = (
        read("replaced").replace('"cordon_node"', '"x"').replace('"create_utility_pod"', '"cordon_node"')
    )
    with pytest.raises(Exception, match=r"[Nn]on-?determinis"):
        await replay(swapped)
