"""Looking at a lab without Temporal: the preflight and the recheck as plain calls, for many cases on one lab."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.preflight import PreflightActivities
from activities.step import TemporalIdentity, Toolbox
from activities.survivors import Survivors
from lab.client import LabClient
from lab.kube_client import KubeClient
from lab.options import LabOptions
from lab.runner import running_lab
from replace_etcd.cluster import AdminCluster
from replace_etcd.kubernetes_cluster import connect
from replace_etcd.models.plan import Pins, Plan
from replace_etcd.models.record import Record
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.runs import Chain, UntoldEnd
from replace_etcd.settings import Settings
from tests.e2e.conftest import NAMESPACE, as_asked

IDENTITY = TemporalIdentity("temporal-1", "default")


class NoRuns:
    """A Temporal that knows of no run."""

    async def state_of(self, record: Record) -> Chain:
        return Chain.UNKNOWN

    async def cancel(self, workflow_id: str, run_id: str) -> None:
        raise AssertionError("nothing is cancelled by looking")

    async def untold_end(self, workflow_id: str, run_id: str) -> UntoldEnd | None:
        return None

    async def is_restored(self, user_cluster: str, run_id: str) -> bool:
        return False

    async def is_newest(self, workflow_id: str, run_id: str) -> bool | None:
        return None


class Looking:
    """A lab, somebody who may do anything in it, and the looks."""

    def __init__(self, lab: LabClient, cluster: AdminCluster, admin: KubeClient) -> None:
        self.lab = lab
        self.cluster = cluster
        self.admin = admin

    def tools(self, **settings: Any) -> Toolbox:
        """What the activities are given, with these settings."""
        return Toolbox(self.cluster, Settings(failure_probe_seconds=0, **settings), IDENTITY, NoRuns())

    def survivors(self) -> Survivors:
        """The members that answer."""
        return Survivors(self.tools())

    async def plan(self, settings: dict[str, Any] | None = None, **fields: Any) -> Plan:
        """What the preflight says."""
        request = ReplacementRequest.model_validate({"user_cluster": NAMESPACE, **fields})
        looks = PreflightActivities(self.tools(**(settings or {})))
        return (await ActivityEnvironment().run(looks.preflight, request)).plan

    async def pins(self) -> Pins:
        """The pins of a plan that nothing refuses."""
        plan = await self.plan()
        assert plan.pins is not None, plan.refusals
        return plan.pins


@asynccontextmanager
async def looking(options: LabOptions) -> AsyncIterator[Looking]:
    """A lab to look at."""
    async with running_lab(as_asked(options)) as lab, KubeClient.from_kubeconfig(lab.kubeconfig) as admin:
        cluster = await connect(str(lab.kubeconfig), None)
        try:
            yield Looking(lab, cluster, admin)
        finally:
            await cluster.close()
