"""A scene for attacks: real etcd, the worker as it is deployed, and a wire between it and the API server.

The wire is the proxy of the fault matrix: what the worker has sent can be held there and let go when it is late. An
attempt of an activity that acts late is run here, with the very order that the workflow gave.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from aiohttp import web
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

from activities.data_directory import WIPE
from activities.step import TemporalIdentity, Toolbox
from lab.binaries import etcd_assets
from lab.client import LabClient
from lab.kubeconfig import read_kubeconfig
from lab.options import LabOptions
from lab.processes import Component
from lab.runner import running_lab
from lab.temporal_server import TemporalServer, running_temporal
from replace_etcd.cluster import CONFIG_MAP, NODE, PDB, POD, STATEFUL_SET, AdminCluster, CommandResult, Object
from replace_etcd.etcd import etcdctl, parse_members
from replace_etcd.kubernetes_cluster import connect
from replace_etcd.models.orders import Done, Order, UtilityPodOrder
from replace_etcd.models.plan import Member
from replace_etcd.models.result import Progress, ReplacementResult
from replace_etcd.pod_template import is_ready
from replace_etcd.settings import Settings
from replace_etcd.temporal import TemporalRuns, cluster_id
from replace_etcd.utility_pod import CONTAINER, utility_pod
from tests.e2e.conftest import NAMESPACE, WITHIN, Scene, as_asked, worker_of
from tests.robustness.proxy import Call, Held, Passage, Proxy, Rule

FAILED = "kube-etcd-1"
SURVIVORS = ("kube-etcd-0", "kube-etcd-2")
SETTINGS = Settings()
POLL = 0.05
UTILITY = "etcd-utility-1"
WITHOUT_FLOCK = "for t in sh mv rm find stat mkdir; do ln -sf $(command -v $t) /tmp/$t; done; PATH=/tmp\n"
O = TypeVar("O", bound=Order)  # noqa: E741 - an order
R = TypeVar("R", bound=Done)
Handle = WorkflowHandle[Any, ReplacementResult]


async def arrived(held: Held) -> None:
    """Wait until a request is held."""
    async with asyncio.timeout(WITHIN):
        await held.arrived.wait()


@dataclass
class Late(Held):
    """A request is held and acts when it is let go, to its end, though nobody waits for its answer any more."""

    call: Call | None = None

    async def __call__(self, passage: Passage) -> web.StreamResponse:
        self.call = passage.call
        self.arrived.set()
        await self.gate.wait()
        await passage.to_the_end()
        self.finished.set()
        return passage.drop()

    async def act(self) -> None:
        """Let it act, and wait until it has."""
        async with asyncio.timeout(WITHIN):
            await arrived(self)
            self.gate.set()
            await self.finished.wait()


class Attack(Scene):
    """A scene with a wire, and with Temporal in reach."""

    def __init__(
        self,
        lab: LabClient,
        client: Client,
        cluster: AdminCluster,
        worker: Component,
        *,
        wire: Proxy,
        temporal: TemporalServer,
        tools: Toolbox,
        another_worker: Callable[..., Component],
    ) -> None:
        super().__init__(lab, client, cluster, worker)
        self.wire = wire
        self.temporal = temporal
        self.tools = tools
        self._another_worker = another_worker

    async def change_worker(self, **settings: str) -> None:
        """Let a worker with other settings take the place of the one that runs."""
        await self.worker.stop(grace=5.0)
        self.worker = self._another_worker(**settings)
        await self.worker.start()

    def on_the_wire(self, *rules: Rule) -> None:
        """Let these rules meet the worker's requests for the user cluster from now on."""
        self.wire.rules[NAMESPACE] = list(rules)

    async def etcdctl(self, pod: str, *arguments: str, seconds: int = 5) -> CommandResult:
        """Run `etcdctl` in an etcd pod, against its own member."""
        settings = SETTINGS
        command = etcdctl(
            list(arguments),
            certificates=settings.certificates_directory,
            endpoint=settings.client_endpoint,
            seconds=seconds,
        )
        return await self.cluster.execute(NAMESPACE, pod, settings.container, command, seconds=seconds + 10.0)

    async def stateful_set(self) -> Object:
        """The StatefulSet as it is."""
        found = await self.cluster.get(STATEFUL_SET, SETTINGS.stateful_set, NAMESPACE)
        assert found is not None
        return found

    async def members(self, pod: str = SURVIVORS[0]) -> list[Member]:
        """The members, as one of them lists them."""
        listed = await self.etcdctl(pod, "member", "list", "-w", "json")
        assert listed.exit_code == 0, listed.stderr
        return parse_members(listed.stdout)

    async def lead(self, pod: str) -> None:
        """Let this pod's member lead."""
        member = next(m for m in (await self.lab.status()).members if m.name == pod)
        leader = (await self.lab.status()).leader
        if leader not in (pod, None):
            moved = await self.etcdctl(str(leader), "move-leader", member.id)
            assert moved.exit_code == 0, moved.stderr

        async def leads() -> bool:
            return (await self.lab.status()).leader == pod

        await until(leads)

    async def order_of(self, handle: Handle, activity: str, kind: type[O]) -> O:
        """The first order that the workflow gave to an activity, out of its history."""
        async for event in handle.fetch_history_events():
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name == activity:
                (order,) = await pydantic_data_converter.decode(scheduled.input.payloads, [kind])
                return kind.model_validate(order)
        raise AssertionError(f"{activity} was never scheduled")

    async def late(self, activity: Callable[[O], Awaitable[R]], order: O) -> R:
        """Run an attempt here, as a worker does that was frozen since it was given the order."""
        done: R = await asyncio.wait_for(ActivityEnvironment().run(activity, order), WITHIN)
        return done

    async def progress(self, handle: Handle) -> Progress:
        """The query `progress`, asked again where the worker was not there to answer."""
        async with asyncio.timeout(WITHIN):
            while True:
                with suppress(RPCError):
                    return await super().progress(handle)

    async def has_done(self, handle: Handle, step: str) -> None:
        """Wait until the replacement has carried out a step."""

        async def done() -> bool:
            return any(one.name == step for one in (await self.progress(handle)).steps)

        await until(done)

    async def tries_again(self, handle: Handle) -> None:
        """Wait until an attempt of the step under way has failed."""

        async def failed() -> bool:
            description = await handle.describe()
            return any(a.attempt > 1 for a in description.raw_description.pending_activities)

        await until(failed)

    async def world(self) -> dict[str, Any]:
        """Everything that a replacement could change, down to what tells a rewritten object from an untouched one."""
        stateful_set = await self.stateful_set()
        budget = await self.cluster.get(PDB, SETTINGS.pdb, NAMESPACE)
        return {
            "template and strategy": (stateful_set["metadata"]["generation"], stateful_set["spec"]),
            "budget": (budget["metadata"]["uid"], budget["spec"]) if budget else None,
            "nodes": [
                (node["metadata"].get("annotations"), node["spec"].get("unschedulable"))
                for node in await self.cluster.find(NODE)
            ],
            "pods": sorted(
                (pod["metadata"]["name"], pod["metadata"]["uid"])
                for pod in await self.cluster.find(POD, NAMESPACE)
            ),
            "record": await self.cluster.get(CONFIG_MAP, SETTINGS.record, NAMESPACE),
        }


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again until it holds."""
    async with asyncio.timeout(WITHIN):
        while not await holds():  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(POLL)


def newer_etcd(**options: Any) -> LabOptions:
    """A lab with the newest 3.5 there is: its new member joins as a learner."""
    etcd = [folder for folder in etcd_assets() if folder.name.startswith("3.5.")][-1]
    return LabOptions.model_validate({"etcd": etcd, **options})


@asynccontextmanager
async def attack(
    directory: Path, options: LabOptions | None = None, *, database: Path | None = None, **settings: str
) -> AsyncIterator[Attack]:
    """Set a scene; `settings` go to the worker's environment."""
    async with (
        running_temporal(directory, database=database) as temporal,
        running_lab(as_asked(options or newer_etcd())) as lab,
        Proxy(read_kubeconfig(lab.kubeconfig)) as wire,
    ):
        through = _kubeconfig(directory / "wire.yaml", wire.address("worker"))

        def a_worker(**changes: str) -> Component:
            environment = {"KUBECONFIG": str(through), **settings, **changes}
            return worker_of(temporal, lab, directory, environment)

        client = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
        cluster = await connect(str(lab.kubeconfig), None)
        identity = await cluster_id(client)
        tools = Toolbox(
            cluster, SETTINGS, TemporalIdentity(identity, "default"), TemporalRuns(client, identity)
        )
        worker = a_worker()
        scene = Attack(
            lab, client, cluster, worker, wire=wire, temporal=temporal, tools=tools, another_worker=a_worker
        )
        await worker.start()
        try:
            yield scene
        finally:
            await cluster.close()
            await scene.worker.stop(grace=5.0)


def _kubeconfig(path: Path, server: str) -> Path:
    """A kubeconfig for the wire, which needs no certificate."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "wire", "cluster": {"server": server}}],
        "users": [{"name": "worker", "user": {}}],
        "contexts": [{"name": "wire", "context": {"cluster": "wire", "user": "worker"}}],
        "current-context": "wire",
    }
    path.write_text(yaml.safe_dump(content))
    return path


class Beside:
    """A utility Pod beside the member that runs, as a late order would find it at the worst."""

    def __init__(self, scene: Attack, uid: str, run: str) -> None:
        self._scene = scene
        self.uid = uid
        self._run = run

    async def shell(self, script: str, *arguments: str) -> CommandResult:
        """Run a script in it."""
        command = ["/bin/sh", "-c", script, "sh", *arguments]
        return await self._scene.cluster.execute(NAMESPACE, UTILITY, CONTAINER, command, seconds=30)

    async def wipe(self, *, uid: str = "", inode: str = "", flock: bool = True) -> int:
        """The wipe's own exit code, also as in an image that has no flock."""
        arguments = ("/var/lib/etcd", uid or self.uid, self._run, inode, uuid.uuid4().hex)
        without = "" if flock else WITHOUT_FLOCK
        return (await self.shell(without + WIPE, *arguments)).exit_code

    async def inode(self) -> str:
        """The inode of `member/` as it is."""
        return (await self.shell("stat -c %i /var/lib/etcd/member")).stdout.strip()

    async def files(self) -> str:
        """What the data directory holds."""
        return (await self.shell("ls -A /var/lib/etcd")).stdout.strip()

    async def delete(self) -> None:
        """Delete it."""
        await self._scene.cluster.delete(POD, UTILITY, NAMESPACE, uid=self.uid)
        await self._scene.cluster.wait_for(POD, UTILITY, NAMESPACE, lambda pod: pod is None, seconds=60)


async def beside_the_member(scene: Attack, order: UtilityPodOrder) -> Beside:
    """Make the utility Pod of an order once more."""
    run = order.fence.first_run_id
    manifest = utility_pod(order.pins, SETTINGS, run, order.fence.generation)
    made = await scene.cluster.create(POD, manifest, NAMESPACE)
    await scene.cluster.wait_for(POD, UTILITY, NAMESPACE, is_ready, seconds=60)
    return Beside(scene, made["metadata"]["uid"], run)
