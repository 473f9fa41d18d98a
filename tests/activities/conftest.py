"""Activities against API servers: each test runs on the simulated control plane and on the real one."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from temporalio.testing import ActivityEnvironment

from activities.replacement_record import RecordActivities
from activities.step import TemporalIdentity, Toolbox
from lab.control_plane import ControlPlane
from replace_etcd.cluster import NODE, STATEFUL_SET, AdminCluster, Object
from replace_etcd.kubernetes_cluster import connect
from replace_etcd.models.orders import Done, Fence, Order
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Pins
from replace_etcd.models.record import Record
from replace_etcd.pod_template import find_flag
from replace_etcd.runs import Chain, UntoldEnd
from replace_etcd.settings import Settings
from tests.lab.conftest import client, control_plane, pki, world
from tests.lab.world import World
from tests.workflows.script import PINS

__all__ = ["Bench", "ScriptedRuns", "client", "control_plane", "now", "pki", "world"]

R = TypeVar("R", bound=Done)
O = TypeVar("O", bound=BaseModel)  # noqa: E741
IDENTITY = TemporalIdentity("temporal-1", "default")
SETTINGS = Settings(failure_probe_seconds=0)


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[AdminCluster]:
    connected = await connect(str(control_plane.kubeconfig), None)
    yield connected
    await connected.close()


class ScriptedRuns:
    """What Temporal says of runs, by first run id; nothing is known of any other."""

    def __init__(self) -> None:
        self.states: dict[str, Chain] = {}
        self.cancelled: list[str] = []
        self.newest: dict[str, bool] = {}
        self.ends: dict[str, UntoldEnd] = {}
        self.restored: set[str] = set()

    async def state_of(self, record: Record) -> Chain:
        return self.states.get(record.first_run_id, Chain.UNKNOWN)

    async def cancel(self, workflow_id: str, run_id: str) -> None:
        self.cancelled.append(run_id)

    async def untold_end(self, workflow_id: str, run_id: str) -> UntoldEnd | None:
        return self.ends.get(run_id)

    async def is_restored(self, user_cluster: str, run_id: str) -> bool:
        return run_id in self.restored

    async def is_newest(self, workflow_id: str, run_id: str) -> bool | None:
        return self.newest.get(run_id)


class Bench:
    """A namespace with the objects that the activities act on, and orders for them."""

    def __init__(self, cluster: AdminCluster, pins: Pins) -> None:
        self.cluster = cluster
        self.pins = pins
        self.runs = ScriptedRuns()
        self.tools = Toolbox(cluster, SETTINGS, IDENTITY, self.runs)
        self.run_id = uuid.uuid4().hex
        self.runs.states[self.run_id] = Chain.RUNNING
        self.generation = 0

    def order(self, kind: type[O], phase: Phase = Phase.PROTECTING, **fields: Any) -> O:
        """The next order of the run that holds the record."""
        self.generation += 1
        return kind(pins=self.pins, fence=self.fence(self.generation, phase), **fields)

    def fence(self, generation: int, phase: Phase = Phase.PROTECTING, **changes: Any) -> Fence:
        """A fence of this run."""
        fence = Fence(
            workflow_id=f"replace-etcd.{self.pins.user_cluster}",
            first_run_id=self.run_id,
            run_id=self.run_id,
            generation=generation,
            phase=phase,
        )
        return fence.model_copy(update=changes)

    async def run(self, activity: Callable[[O], Awaitable[R]], order: O) -> R:
        """Run one attempt of an activity."""
        done: R = await asyncio.wait_for(ActivityEnvironment().run(activity, order), 60)
        return done

    async def claim(self) -> None:
        """Take the record, as the workflow does before its first change."""
        await self.run(RecordActivities(self.tools).claim_replacement_record, self.order(Order))

    async def stateful_set(self) -> Object:
        """The StatefulSet as it is."""
        found = await self.cluster.get(STATEFUL_SET, "kube-etcd", self.pins.user_cluster)
        assert found is not None
        return found


@pytest.fixture
async def bench(world: World, cluster: AdminCluster) -> Bench:
    """A StatefulSet without pods (nothing schedules them), a node, and pins that fit."""
    node = await world.node()
    made = await cluster.create(STATEFUL_SET, stateful_set(), world.namespace)
    made_node = await cluster.get(NODE, node)
    assert made_node is not None
    pins = PINS.model_copy(
        update={
            "user_cluster": world.namespace,
            "stateful_set_uid": made["metadata"]["uid"],
            "update_strategy": made["spec"]["updateStrategy"],
            "flag": find_flag(made["spec"]["template"]["spec"], "kube-etcd"),
            "node": node,
            "node_uid": made_node["metadata"]["uid"],
            "pdb_uid": None,
        }
    )
    return Bench(cluster, pins)


def stateful_set() -> Object:
    """As the vendor writes it: the strategy named, `rollingUpdate` left out."""
    labels = {"app": "kube-etcd"}
    container = {"name": "kube-etcd", "image": "etcd", "args": ["--name=x", "--initial-cluster-state=new"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "kube-etcd"},
        "spec": {
            "replicas": 1,
            "serviceName": "kube-etcd",
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "nodeSelector": {"test": "nowhere"}},
            },
        },
    }


def now() -> datetime:
    return datetime.now(UTC)
