"""The janitor's choreography: what it puts back in which order, what it lets rest, and what it never touches."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer

from replace_etcd.models.orders import RemovalSettled
from replace_etcd.models.phase import PAST_THE_REMOVAL, Phase
from replace_etcd.models.restoring import RecordsFound, Restored, TakenOver, Verdict
from replace_etcd.models.result import Outcome
from replace_etcd.search_attributes import FAILED_REPLICA, OUTCOME, USER_CLUSTER
from tests.workflows.conftest import Stage
from tests.workflows.script import BACKUP, PINS, Script
from workflows.restore_interrupted import RestoreInterruptedReplacement
from workflows.saga import ROLL_BACK_ORDER

HISTORIES = sorted((Path(__file__).parent / "histories" / "janitor").glob("*.json"))
FIND, TAKE = "find_interrupted_replacements", "take_over_record"
REST = ["restore_pod_disruption_budget", "delete_utility_pod", "uncordon_node", "close_replacement_record"]
ONE = {"user_cluster": "user-cluster-1"}


def found(verdict: Verdict = Verdict.INTERRUPTED, phase: Phase = Phase.DRAINING, **fields: Any) -> Restored:
    given = {
        "user_cluster": "user-cluster-1",
        "replica": "kube-etcd-1",
        "workflow_id": "replace-etcd.user-cluster-1",
        "first_run_id": "the-first",
        "run_id": "the-last",
        "phase": phase,
        "furthest": phase,
    }
    return Restored(verdict=verdict, **(given | fields))


def records(script: Script, *several: Restored) -> None:
    """What the search finds, and what a take-over of the first of them gives."""
    script.answers[FIND] = RecordsFound(records=list(several))
    if several:
        script.answers[TAKE] = TakenOver(
            pins=PINS, backup=BACKUP, furthest=several[0].furthest, heir_of=["the-first"]
        )


async def restored(stage: Stage, submitted: Any = None) -> Restored:
    """Restore the one, and say what became of it."""
    handle = await stage.start_janitor(submitted or ONE)
    (record,) = (await handle.result()).records
    return record


async def test_before_the_removal_everything_is_put_back(stage: Stage) -> None:
    records(stage.script, found())
    record = await restored(stage)
    assert stage.script.calls == [FIND, TAKE, *ROLL_BACK_ORDER]
    assert (record.outcome, record.verdict) == (Outcome.INTERRUPTED, Verdict.INTERRUPTED)
    assert record.restored == list(ROLL_BACK_ORDER)
    assert record.reason.endswith("was ended from outside while draining; everything is back")
    assert stage.script.orders["restore_pod_disruption_budget"]["backup"] == BACKUP.model_dump(mode="json")


async def test_every_order_names_whom_it_inherits_from_and_the_new_holder(stage: Stage) -> None:
    records(stage.script, found())
    handle = await stage.start_janitor(ONE)
    await handle.result()
    fence = stage.script.orders["delete_utility_pod"]["fence"]
    assert fence["heir_of"] == ["the-first"]
    assert fence["first_run_id"] == handle.first_execution_run_id
    taking = stage.script.orders[TAKE]
    assert (taking["from_first_run"], taking["by_hand"]) == ("the-first", None)
    assert taking["fence"]["generation"] == 0 < fence["generation"]


@pytest.mark.parametrize("phase", PAST_THE_REMOVAL)
async def test_after_the_removal_it_rests_safely_and_can_be_resumed(stage: Stage, phase: Phase) -> None:
    records(stage.script, found(phase=phase))
    record = await restored(stage)
    # Where nobody can tell whether the member is removed, the node stays cordoned.
    rest = [step for step in REST if phase is not Phase.REMOVING or step != "uncordon_node"]
    assert stage.script.calls == [FIND, TAKE, "settle_removal", *rest]
    assert not stage.script.orders.get("uncordon_node", {}).get("keeps_it")
    assert record.outcome is Outcome.INTERRUPTED
    closed = stage.script.orders["close_replacement_record"]
    assert (closed["outcome"], closed["reason"]) == ("interrupted", record.reason)
    assert "the next start goes on from there" in record.reason
    assert ("nobody can tell" in record.reason) == (phase is Phase.REMOVING)


async def test_a_hold_or_a_way_back_hides_no_removal(stage: Stage) -> None:
    """What counts is the furthest phase, not the one that the run was in."""
    records(stage.script, found(phase=Phase.HELD, furthest=Phase.CLEANING))
    await restored(stage)
    assert stage.script.calls[-4:] == REST


async def test_a_removal_that_was_never_sent_is_rolled_back(stage: Stage) -> None:
    stage.script.answers["settle_removal"] = RemovalSettled(may_be_sent=False)
    records(stage.script, found(phase=Phase.REMOVING))
    await restored(stage)
    assert stage.script.calls == [FIND, TAKE, "settle_removal", *ROLL_BACK_ORDER]


@pytest.mark.parametrize(
    "verdict", [one for one in Verdict if one not in (Verdict.INTERRUPTED, Verdict.LOST)]
)
async def test_what_is_not_interrupted_is_not_touched(stage: Stage, verdict: Verdict) -> None:
    records(stage.script, found(verdict))
    record = await restored(stage)
    assert stage.script.calls == [FIND]
    assert (record.verdict, record.outcome) == (verdict, None)


async def test_without_a_record_there_is_nothing_to_do(stage: Stage) -> None:
    records(stage.script)
    handle = await stage.start_janitor(ONE)
    assert (await handle.result()).records == []


async def test_of_two_janitors_one_ends_with_a_note(stage: Stage) -> None:
    records(stage.script, found())
    stage.script.fail(TAKE, "LockLost")
    record = await restored(stage)
    assert (record.verdict, record.outcome) == (Verdict.LOST, None)
    assert "take_over_record went wrong; this run changes nothing any more" in record.reason
    assert stage.script.calls == [FIND, TAKE]


async def test_one_that_loses_the_record_on_the_way_stops_there(stage: Stage) -> None:
    records(stage.script, found())
    stage.script.fail("restore_flag_and_strategy", "LockLost")
    record = await restored(stage)
    assert (record.verdict, record.outcome) == (Verdict.LOST, None)
    assert record.restored == ["restore_pod_disruption_budget"]
    assert stage.script.calls[-1] == "restore_flag_and_strategy"


async def test_a_cancel_does_not_stop_what_puts_things_back(stage: Stage) -> None:
    records(stage.script, found())
    begun = stage.script.block("restore_flag_and_strategy")
    handle = await stage.start_janitor(ONE)
    await asyncio.wait_for(begun.wait(), 30)
    await handle.cancel()
    stage.script.release("restore_flag_and_strategy")
    (record,) = (await handle.result()).records
    assert record.restored == list(ROLL_BACK_ORDER)


async def test_it_is_found_as_the_replacement_is(stage: Stage) -> None:
    records(stage.script, found())
    handle = await stage.start_janitor(ONE)
    await handle.result()
    described = await handle.describe()
    labels = described.typed_search_attributes
    assert labels.get(USER_CLUSTER) == "user-cluster-1"
    assert labels.get(FAILED_REPLICA) == "kube-etcd-1"
    assert labels.get(OUTCOME) == "interrupted"


class TestByHand:
    WORD = {**ONE, "take_over": "its Temporal burnt down", "requested_by": "ann"}

    @pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.STUCK, Verdict.CONCLUDED])
    async def test_a_person_may_say_what_temporal_cannot(self, stage: Stage, verdict: Verdict) -> None:
        records(stage.script, found(verdict))
        record = await restored(stage, self.WORD)
        assert record.outcome is Outcome.INTERRUPTED
        assert "was taken over by hand while draining: its Temporal burnt down (ann)" in record.reason
        assert stage.script.orders[TAKE]["by_hand"] == "its Temporal burnt down (ann)"

    async def test_why_it_had_ended_is_not_forgotten(self, stage: Stage) -> None:
        records(stage.script, found(Verdict.CONCLUDED, Phase.REMOVING, reason="a survivor was silent"))
        record = await restored(stage, self.WORD)
        assert "before that: a survivor was silent" in record.reason
        assert stage.script.orders["close_replacement_record"]["reason"] == record.reason

    @pytest.mark.parametrize("verdict", [Verdict.RUNNING, Verdict.SUCCEEDED, Verdict.BY_HAND])
    async def test_not_what_is_known_to_live(self, stage: Stage, verdict: Verdict) -> None:
        records(stage.script, found(verdict))
        record = await restored(stage, self.WORD)
        assert (record.verdict, record.outcome) == (verdict, None)
        assert stage.script.calls == [FIND]

    @pytest.mark.parametrize(
        ("submitted", "names"),
        [
            ({"take_over": "x"}, "take_over is a reason, and names one user_cluster"),
            ({**ONE, "take_over": " "}, "take_over is a reason"),
            ({"user_cluster": "Not A Name"}, "user_cluster"),
            ({"usercluster": "x"}, "usercluster: extra inputs are not permitted"),
        ],
    )
    async def test_wrong_input_fails_at_once(self, stage: Stage, submitted: Any, names: str) -> None:
        handle = await stage.start_janitor(submitted)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        error = caught.value.cause
        assert isinstance(error, ApplicationError)
        assert error.type == "InvalidInput"
        assert names in error.message


class TestSweep:
    async def test_each_interrupted_one_gets_a_run_of_its_own(self, stage: Stage) -> None:
        records(stage.script, found(), found(Verdict.RUNNING, user_cluster="user-cluster-2"))
        handle = await stage.start_janitor()
        first, second = (await handle.result()).records
        assert first.reason == "restore-etcd.user-cluster-1 is started"
        assert (second.verdict, second.reason) == (Verdict.RUNNING, "")
        child = stage.client.get_workflow_handle("restore-etcd.user-cluster-1")
        await child.result()
        assert stage.script.calls == [FIND, FIND, TAKE, *ROLL_BACK_ORDER]
        assert stage.script.orders[FIND]["user_cluster"] == "user-cluster-1"

    async def test_the_restoration_outlives_the_sweep_and_keeps_a_second_one_out(self, stage: Stage) -> None:
        records(stage.script, found())
        begun = stage.script.block(TAKE)
        await (await stage.start_janitor()).result()
        await asyncio.wait_for(begun.wait(), 30)
        (again,) = (await (await stage.start_janitor()).result()).records
        assert again.reason == "restore-etcd.user-cluster-1 is at it already"
        child = stage.client.get_workflow_handle("restore-etcd.user-cluster-1")
        assert (await child.describe()).status is WorkflowExecutionStatus.RUNNING
        stage.script.release(TAKE)
        await child.result()

    async def test_a_stuck_one_is_protected_and_not_taken(self, stage: Stage) -> None:
        records(stage.script, found(Verdict.STUCK, reason="no progress"))
        (record,) = (await (await stage.start_janitor()).result()).records
        assert stage.script.calls == [FIND, "protect_stuck_replacement"]
        assert stage.script.orders["protect_stuck_replacement"]["why"] == "no progress"
        assert record.verdict is Verdict.STUCK

    async def test_one_that_cannot_be_protected_does_not_stop_the_sweep(self, stage: Stage) -> None:
        records(stage.script, found(Verdict.STUCK, user_cluster="user-cluster-2"), found())
        stage.script.fail("protect_stuck_replacement", "Forbidden")
        stuck, interrupted = (await (await stage.start_janitor()).result()).records
        assert "protect_stuck_replacement went wrong" in stuck.reason
        assert interrupted.reason == "restore-etcd.user-cluster-1 is started"


@pytest.mark.parametrize("name", [path.stem for path in HISTORIES])
async def test_a_recorded_history_replays(name: str) -> None:
    history = next(path for path in HISTORIES if path.stem == name).read_text()
    replayer = Replayer(workflows=[RestoreInterruptedReplacement], data_converter=pydantic_data_converter)
    await replayer.replay_workflow(WorkflowHistory.from_json("replayed", history))


def test_there_is_a_history_for_each_way_that_it_ends() -> None:
    ends = {path.stem: json.loads(path.read_text())["records"] for path in HISTORIES}
    assert ends == {
        "swept": [["interrupted", None], ["stuck", None], ["running", None]],
        "rolled_back": [["interrupted", "interrupted"]],
        "resting": [["interrupted", "interrupted"]],
        "taken_over_by_hand": [["unknown", "interrupted"]],
        "lost": [["lost", None]],
    }
