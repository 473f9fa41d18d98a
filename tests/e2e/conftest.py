"""Everything real but the machine room: a lab, a Temporal server, the worker as it is deployed.

A scene is one lab with a writer that never pauses. The worker runs as a process of its own, from `worker.py`,
so that it can be killed like any process.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from lab.client import LabClient
from lab.models import Fault, LabReport
from lab.options import LabOptions
from lab.processes import Component
from lab.runner import running_lab
from lab.temporal_server import TemporalServer, running_temporal
from replace_etcd.cluster import AdminCluster
from replace_etcd.kubernetes_cluster import connect
from replace_etcd.models.result import Progress, ReplacementResult

NAMESPACE = "user-cluster-1"
REAL = pytest.param("real", marks=pytest.mark.needs("kubernetes"))
WITHIN = 240.0
QUERY_TRIES = 5
"""Of one that nobody answers for some seconds."""


def as_asked(options: LabOptions) -> LabOptions:
    """The lab of a test, on the control plane that the whole run is asked for (`make test-full` asks for both)."""
    asked = os.environ.get("REPLACE_ETCD_TEST_KUBERNETES")
    return options.model_copy(update={"kubernetes": asked}) if asked else options


class Scene:
    """A lab under traffic, a Temporal server, a worker, and what tests do with them."""

    def __init__(self, lab: LabClient, client: Client, cluster: AdminCluster, worker: Component) -> None:
        self.lab = lab
        self.client = client
        self.cluster = cluster
        self.worker = worker

    async def destroy(self, replica: str = "kube-etcd-1", fault: Fault = "corrupt-wal") -> str:
        """Break a member under traffic."""
        await self.lab.start_traffic()
        return await self.lab.destroy(replica, fault)

    async def start(self, **fields: Any) -> WorkflowHandle[Any, ReplacementResult]:
        """Start a replacement, with the id that keeps a second one out."""
        return await self.client.start_workflow(
            "ReplaceEtcdReplica",
            {"user_cluster": NAMESPACE, **fields},
            id=f"replace-etcd.{NAMESPACE}",
            task_queue="replace-etcd",
            result_type=ReplacementResult,
        )

    async def result(self, handle: WorkflowHandle[Any, ReplacementResult]) -> ReplacementResult:
        """How it ended; where it failed, the result that the error carries."""
        try:
            async with asyncio.timeout(WITHIN):
                return await handle.result()
        except TimeoutError:
            raise AssertionError(f"no end: {(await self.progress(handle)).model_dump_json()}") from None
        except WorkflowFailureError as failure:
            if not isinstance(failure.cause, ApplicationError) or not failure.cause.details:
                raise
            return ReplacementResult.model_validate(failure.cause.details[0])

    async def reach(self, handle: WorkflowHandle[Any, ReplacementResult], step: str) -> None:
        """Wait until the replacement carries out a step."""
        async with asyncio.timeout(WITHIN):
            while (await self.progress(handle)).current != step:  # noqa: ASYNC110 - only a query tells
                await asyncio.sleep(0.05)

    async def progress(self, handle: WorkflowHandle[Any, ReplacementResult]) -> Progress:
        """The query `progress`; asked again where a busy worker did not answer in time."""
        for _ in range(QUERY_TRIES - 1):
            try:
                return Progress.model_validate(await handle.query("progress"))
            except RPCError as error:
                if error.status not in (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED):
                    raise
        return Progress.model_validate(await handle.query("progress"))

    async def judgement(self) -> LabReport:
        """Stop the writer and judge."""
        await self.lab.stop_traffic()
        return await self.lab.report()


def nothing_lost(report: LabReport) -> None:
    """No acknowledged write is lost, no healthy member was restarted."""
    assert report.traffic.acknowledged > 0
    assert report.judgement.lost_writes == 0, report.judgement
    assert report.judgement.survivor_restarts == 0, report.judgement


def as_before(report: LabReport) -> None:
    """Everything that was taken away is back."""
    assert report.pdb_restored, report.after
    assert report.after.initial_cluster_state == report.before.initial_cluster_state
    assert report.after.update_strategy == report.before.update_strategy
    assert report.after.template_hash == report.before.template_hash
    assert report.nodes_restored, report.after


def replaced(result: ReplacementResult, report: LabReport, members: int = 3) -> None:
    """The promise, whole."""
    assert result.outcome == "replaced", result.reason
    nothing_lost(report)
    as_before(report)
    assert len(report.members) == members
    assert all(member.started and member.healthy and not member.learner for member in report.members)
    assert report.judgement.unread_members == []
    assert result.old_member_id not in {member.id for member in report.members}
    assert result.new_member_id in {member.id for member in report.members}
    if report.before.pdb_spec is None:  # as before, but perhaps by step 2 of the runbook: a person is to look
        assert [left for left in result.left if "there is no PodDisruptionBudget" not in left] == []
        assert result.left != []
    else:
        assert result.left == []


@asynccontextmanager
async def scene_of(options: LabOptions, directory: Path, **settings: str) -> AsyncIterator[Scene]:
    """Set a scene; `settings` go to the worker's environment."""
    async with running_temporal(directory) as temporal, running_lab(as_asked(options)) as lab:
        worker = worker_of(temporal, lab, directory, settings)
        await worker.start()
        client = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
        cluster = await connect(str(lab.kubeconfig), None)
        try:
            yield Scene(lab, client, cluster, worker)
        finally:
            await cluster.close()
            await worker.stop(grace=5.0)


def worker_of(
    temporal: TemporalServer, lab: LabClient, directory: Path, settings: dict[str, str]
) -> Component:
    """The worker as a process, with a short failure probe: ten seconds a test are many."""
    spec = find_spec("worker")
    assert spec is not None
    assert spec.origin is not None
    environment = {
        **os.environ,
        "TEMPORAL_ADDRESS": temporal.address,
        "KUBECONFIG": str(lab.kubeconfig),
        "REPLACE_ETCD_FAILURE_PROBE_SECONDS": "3",
        "REPLACE_ETCD_LOG_FORMAT": "json",
        **settings,
    }
    return Component("worker", [sys.executable, spec.origin], directory=directory, environment=environment)
