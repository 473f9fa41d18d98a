"""Whether the run that holds a record lives: real answers of a real server to every case that was thought of."""

import uuid

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError

from lab.temporal_server import running_temporal
from replace_etcd.models.restoring import RestoreResult
from replace_etcd.models.result import Outcome
from replace_etcd.runs import Chain
from replace_etcd.temporal import TemporalRuns, cluster_id
from tests.resets import FIRST_TASK, reset_to
from tests.temporal.conftest import QUEUE, Restoring, Temporal, Waiting

Run = WorkflowHandle[Waiting, None]


async def reset(temporal: Temporal, run: Run) -> Run:
    """As `temporal workflow reset` does it, to the first task."""
    again = await reset_to(temporal.client, run.id, FIRST_TASK, run_id=str(run.run_id))
    return temporal.client.get_workflow_handle_for(Waiting.run, run.id, run_id=again)


async def test_a_run_lives_until_it_is_closed(temporal: Temporal) -> None:
    run = await temporal.start()
    assert await temporal.runs.state_of(temporal.record(run)) is Chain.RUNNING
    await run.signal(Waiting.end)
    await run.result()
    assert await temporal.runs.state_of(temporal.record(run)) is Chain.CLOSED


async def test_one_that_was_terminated_is_closed(temporal: Temporal) -> None:
    run = await temporal.start()
    await run.terminate("by mistake")
    assert await temporal.runs.state_of(temporal.record(run)) is Chain.CLOSED


async def test_one_that_was_reset_lives_on(temporal: Temporal) -> None:
    """Its record still names the run that the reset has ended."""
    run = await temporal.start()
    second = await reset(temporal, run)
    assert await temporal.runs.state_of(temporal.record(run)) is Chain.RUNNING
    await second.terminate()
    assert await temporal.runs.state_of(temporal.record(run)) is Chain.CLOSED
    await reset(temporal, second)
    assert await temporal.runs.state_of(temporal.record(run)) is Chain.RUNNING


async def test_one_that_was_reset_after_its_end_lives_again(temporal: Temporal) -> None:
    run = await temporal.start()
    await run.terminate()
    await reset(temporal, run)
    assert await temporal.runs.state_of(temporal.record(run)) is Chain.RUNNING


async def test_a_newer_run_of_the_same_id_takes_the_record_over_itself(temporal: Temporal) -> None:
    first = await temporal.start()
    await first.terminate()
    second = await temporal.start()
    assert await temporal.runs.state_of(temporal.record(first)) is Chain.SUCCEEDED_BY
    await second.terminate()
    assert await temporal.runs.state_of(temporal.record(first)) is Chain.CLOSED


async def test_only_an_end_that_the_run_could_not_tell_is_told_for_it(temporal: Temporal) -> None:
    run = await temporal.start()
    assert await temporal.runs.untold_end(run.id, str(run.run_id)) is None
    await run.terminate()
    end = await temporal.runs.untold_end(run.id, str(run.run_id))
    assert end is not None
    assert end.outcome is Outcome.INTERRUPTED
    for kind, outcome in (("InvalidInput", Outcome.REFUSED), ("RolledBack", None)):
        failed = await temporal.start()
        await failed.signal(Waiting.fail, kind)
        with pytest.raises(WorkflowFailureError):
            await failed.result()
        end = await temporal.runs.untold_end(failed.id, str(failed.run_id))
        assert (end and end.outcome) is outcome
    assert await temporal.runs.untold_end(run.id, str(uuid.uuid4())) is None


async def test_a_restoration_tells_the_end_of_the_run_whose_record_it_takes(temporal: Temporal) -> None:
    """While it is at work nobody knows yet whose that is; one that was ended itself tells nothing any more."""

    async def restoring() -> WorkflowHandle[Restoring, RestoreResult]:
        return await temporal.client.start_workflow(
            Restoring.run, id="restore-etcd.user-cluster-1", task_queue=QUEUE
        )

    async def is_restored(run_id: str) -> bool:
        return await temporal.runs.is_restored("user-cluster-1", run_id)

    assert not await is_restored("one")
    restoration = await restoring()
    assert await is_restored("another")
    await restoration.signal(Restoring.end, "one")
    await restoration.result()
    assert [await is_restored(name) for name in ("one", "another")] == [True, False]
    await (await restoring()).terminate()
    assert not await is_restored("another")


async def test_what_is_not_found_is_unknown(temporal: Temporal) -> None:
    """It may have been deleted, or past its retention; and a store that was lost knows nothing of what still runs."""
    run = await temporal.start()
    for changes in (
        {"workflow_id": "replace-etcd.another"},
        {"temporal_namespace": "another"},
    ):
        assert await temporal.runs.state_of(temporal.record(run, **changes)) is Chain.UNKNOWN
    await run.terminate()
    nobody = str(uuid.uuid4())
    assert (
        await temporal.runs.state_of(temporal.record(run, first_run_id=nobody, run_id=nobody))
        is Chain.UNKNOWN
    )
    assert await temporal.runs.state_of(temporal.record(run, first_run_id=nobody)) is Chain.UNKNOWN


async def test_another_temporal_is_never_asked(
    temporal: Temporal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same workflow id runs here; the record's run is on the other one, of which this one knows nothing."""
    run = await temporal.start()
    await run.terminate()
    async with running_temporal(tmp_path_factory.mktemp("elsewhere")) as server:
        elsewhere = await Client.connect(server.address)
        identity = await cluster_id(elsewhere)
        assert identity != temporal.identity
        runs = TemporalRuns(elsewhere, identity)
        assert await runs.state_of(temporal.record(run)) is Chain.UNKNOWN
        assert (
            await temporal.runs.state_of(temporal.record(run, temporal_cluster_id=identity)) is Chain.UNKNOWN
        )


async def test_where_the_server_is_gone_nothing_is_known(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_temporal(tmp_path_factory.mktemp("temporal")) as server:
        client = await Client.connect(server.address)
        temporal = Temporal(client, await cluster_id(client))
        run: Run = client.get_workflow_handle_for(Waiting.run, "replace-etcd.x", run_id=str(uuid.uuid4()))
    assert await temporal.runs.state_of(temporal.record(run)) is Chain.UNKNOWN
    assert await temporal.runs.untold_end(run.id, str(run.run_id)) is None
    assert await temporal.runs.is_restored("user-cluster-1", str(run.run_id))


async def test_a_cancel_reaches_the_run_that_is_named_and_no_other(temporal: Temporal) -> None:
    first = await temporal.start()
    await first.terminate()
    second = await temporal.start()
    await temporal.runs.cancel(
        first.id, str(first.run_id)
    )  # it has ended: nothing happens to its successor either
    asked = [
        event async for event in second.fetch_history_events() if "CANCEL" in EventType.Name(event.event_type)
    ]
    assert asked == []
    await temporal.runs.cancel(second.id, str(second.run_id))
    with pytest.raises(WorkflowFailureError) as caught:
        await second.result()
    assert isinstance(caught.value.cause, CancelledError)
