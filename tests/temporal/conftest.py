"""A real Temporal server, and a workflow that waits until it is told to end."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from lab.temporal_server import TemporalServer
from replace_etcd.models.phase import Phase
from replace_etcd.models.record import Record
from replace_etcd.models.restoring import Restored, RestoreResult, Verdict
from replace_etcd.models.result import Outcome
from replace_etcd.temporal import TemporalRuns, cluster_id
from tests.servers import temporal_for_all

QUEUE = "waiting"
ID = "replace-etcd.user-cluster-1"
NAMESPACES = [f"test-{number}" for number in range(30)]


@workflow.defn
class Waiting:
    """Stands for a replacement: it runs until it is told to end, and can be reset to its beginning."""

    def __init__(self) -> None:
        self._over = False
        self._failure: str | None = None

    @workflow.signal
    async def end(self) -> None:
        """Let it complete."""
        self._over = True

    @workflow.signal
    async def fail(self, kind: str) -> None:
        """Let it fail with an error of that type."""
        self._failure, self._over = kind, True

    @workflow.query
    def began(self) -> bool:
        """Whether its first task is done."""
        return True

    @workflow.run
    async def run(self) -> None:
        """Wait."""
        await workflow.wait_condition(lambda: self._over)
        if self._failure:
            raise ApplicationError("as it was told", type=self._failure)


@workflow.defn
class Restoring:
    """Stands for a restoration: it runs until it is told whose record it has taken over."""

    def __init__(self) -> None:
        self._run_id = ""

    @workflow.signal
    async def end(self, run_id: str) -> None:
        """Let it complete."""
        self._run_id = run_id

    @workflow.run
    async def run(self) -> RestoreResult:
        """Wait."""
        await workflow.wait_condition(lambda: bool(self._run_id))
        record = Restored(
            user_cluster="user-cluster-1",
            verdict=Verdict.INTERRUPTED,
            run_id=self._run_id,
            outcome=Outcome.INTERRUPTED,
        )
        return RestoreResult(records=[record])


class Temporal:
    """One Temporal with a worker for `Waiting`, and what is asked of it."""

    def __init__(self, client: Client, identity: str) -> None:
        self.client = client
        self.identity = identity
        self.runs = TemporalRuns(client, identity)

    async def start(self) -> WorkflowHandle[Waiting, None]:
        """Start one; it has begun when this returns."""
        started = await self.client.start_workflow(Waiting.run, id=ID, task_queue=QUEUE)
        await started.query(Waiting.began)
        return self.client.get_workflow_handle_for(Waiting.run, ID, run_id=started.first_execution_run_id)

    def record(self, run: WorkflowHandle[Waiting, None], **changes: object) -> Record:
        """The record that this run would have written."""
        now = datetime.now(UTC)
        record = Record(
            temporal_cluster_id=self.identity,
            temporal_namespace=self.client.namespace,
            workflow_id=run.id,
            first_run_id=str(run.run_id),
            run_id=str(run.run_id),
            generation=1,
            phase=Phase.DRAINING,
            until=now,
            started_at=now,
            updated_at=now,
            replica="kube-etcd-1",
            node="node-2",
            member_id="b1",
        )
        return record.model_copy(update=changes)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """One for all tests, with a namespace for each."""
    with temporal_for_all(tmp_path_factory.mktemp("temporal"), NAMESPACES) as running:
        yield running


@pytest.fixture(scope="session")
def namespaces() -> Iterator[str]:
    """Those that no test has had."""
    return iter(NAMESPACES)


@pytest.fixture
async def temporal(server: TemporalServer, namespaces: Iterator[str]) -> AsyncIterator[Temporal]:
    client = await Client.connect(
        server.address, namespace=next(namespaces), data_converter=pydantic_data_converter
    )
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[Waiting, Restoring],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield Temporal(client, await cluster_id(client))
