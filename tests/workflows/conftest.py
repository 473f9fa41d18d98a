"""A Temporal server that skips time, with a worker whose activities follow a script."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from replace_etcd.models.restoring import RestoreResult
from replace_etcd.models.result import ReplacementResult
from replace_etcd.search_attributes import ALL
from tests.binaries import beside_python
from tests.workflows.script import Script
from workflows.doctor import DiagnoseWorker
from workflows.replace_etcd_replica import ReplaceEtcdReplica
from workflows.restore_interrupted import RestoreInterruptedReplacement
from workflows.telling import DeliverAudit


class Stage:
    """A server, a worker that plays the script, and a way to start replacements."""

    def __init__(self, client: Client, script: Script) -> None:
        self.client = client
        self.script = script
        self.queue = script.queue

    async def start(self, submitted: Any = None, **fields: Any) -> WorkflowHandle[Any, ReplacementResult]:
        """Start a replacement as any tool does: by its type's name, with plain JSON."""
        given = {"user_cluster": "user-cluster-1", "failed_replica": "kube-etcd-1", **fields}
        return await self.client.start_workflow(
            "ReplaceEtcdReplica",
            submitted if submitted is not None else given,
            id=f"replace-etcd.{uuid.uuid4().hex}",
            task_queue=self.queue,
            result_type=ReplacementResult,
        )

    async def start_janitor(self, submitted: Any = None) -> WorkflowHandle[Any, RestoreResult]:
        """Start the janitor; without an input it is a sweep."""
        return await self.client.start_workflow(
            "RestoreInterruptedReplacement",
            *([] if submitted is None else [submitted]),
            id=f"restore-etcd.{uuid.uuid4().hex}",
            task_queue=self.queue,
            result_type=RestoreResult,
        )

    async def run(self, submitted: Any = None, **fields: Any) -> ReplacementResult:
        """Start one and wait for its result."""
        return await (await self.start(submitted, **fields)).result()

    async def failure(
        self, handle: WorkflowHandle[Any, ReplacementResult]
    ) -> tuple[ApplicationError, ReplacementResult]:
        """The error that a replacement ends with, and the result that it carries."""
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        error = caught.value.cause
        assert isinstance(error, ApplicationError), error
        assert len(error.details) == 1
        return error, ReplacementResult.model_validate(error.details[0])


@pytest.fixture
def script() -> Script:
    return Script()


@asynccontextmanager
async def playing(client: Client, script: Script, **options: Any) -> AsyncIterator[Stage]:
    """A worker that plays the script, with these options beside its own."""
    async with Worker(
        client,
        task_queue=script.queue,
        workflows=[ReplaceEtcdReplica, RestoreInterruptedReplacement, DeliverAudit, DiagnoseWorker],
        activities=[script.play],
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        **options,
    ):
        yield Stage(client, script)


@asynccontextmanager
async def a_stage(script: Script) -> AsyncIterator[Stage]:
    """Time is skipped while nothing but timers is waited for.

    Without the sandbox, a third faster: what it forbids is asked where histories replay, and wherever `worker.py` runs.
    """
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=pydantic_data_converter,
        test_server_existing_path=beside_python("temporal-test-server"),
    ) as environment:
        kinds = {key.name: IndexedValueType.ValueType(key.indexed_value_type.value) for key in ALL}
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=environment.client.namespace, search_attributes=kinds)
        )
        async with playing(environment.client, script, workflow_runner=UnsandboxedWorkflowRunner()) as stage:
            yield stage


@pytest.fixture
async def stage(script: Script) -> AsyncIterator[Stage]:
    async with a_stage(script) as built:
        yield built
