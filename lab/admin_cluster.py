"""Puts a lab together inside its namespaces: control plane, nodes, user cluster, writers, faults, judge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

from lab import fixture, judge, observe
from lab.binaries import etcd_folder
from lab.control_plane import ControlPlane
from lab.control_plane.real import RealControlPlane
from lab.etcd_gateway import EtcdGateway
from lab.faults import Faults
from lab.fixture.names import NAMESPACE, NODE_LABELS, nodes, replicas
from lab.fixture.shapes import facts
from lab.history import History
from lab.kube_client import KubeClient
from lab.models import Evidence, Fault, Judgement, LabReport, LabStatus, Member, ObjectsView, Seen
from lab.nodes import commands
from lab.nodes.cluster import Nodes, UnknownPod
from lab.nodes.runtime import Folders
from lab.options import LabOptions
from lab.pki import AdminPki, EtcdPki
from lab.workload import PREFIX, Workload

API_PORT = 6443
COUNT = {3: "three", 5: "five"}


class AdminCluster:
    """The running lab; the control socket calls its methods."""

    def __init__(
        self, options: LabOptions, certificates: Path, data: Path, progress: Callable[[str], None]
    ) -> None:
        self.options = options
        self.data = data
        self.pki = AdminPki(data / "pki")
        self.replicas = replicas(options.members)
        self.shape = facts(options.shapes)
        labels = {**NODE_LABELS, "kubernetes.io/hostname": self.shape.hostname}
        self.nodes = Nodes(nodes(options.members), labels, Folders(data, etcd_folder(options.etcd)))
        self.control_plane = control_plane(options, data / "control-plane", self.pki)
        self._etcd_pki = EtcdPki(certificates, self.replicas)
        self._progress = progress
        self._stack = AsyncExitStack()
        self._before: ObjectsView | None = None
        self.failed: str | None = None
        self.fault: Fault | None = None

    async def start(self) -> None:
        """Bring everything up; it is whole when this returns."""
        await self.nodes.prepare()
        self._stack.push_async_callback(self.control_plane.stop)
        _, flags = await asyncio.gather(self.control_plane.start(), self._etcd_flags())
        self._progress(f"the API server answers (Kubernetes {self.control_plane.version})")
        self.client = await self._stack.enter_async_context(
            KubeClient.from_kubeconfig(self.control_plane.kubeconfig)
        )
        self.gateway = EtcdGateway(self._etcd_pki, self._address)
        self._stack.push_async_callback(self.gateway.close)
        self.workload = Workload(self.gateway, self.replicas)
        self.faults = Faults(self.nodes, self.data, self.client, self.shape)
        self.history = History(self.client, self.replicas)
        self._stack.push_async_callback(self.nodes.stop)  # also for a start that is broken off in the middle
        await self._populate(flags)
        await self._grow()
        self.nodes.pace.like_a_cluster()
        self._before = await observe.objects(self.client)
        self.history.start()
        self._stack.push_async_callback(self.history.stop)

    async def stop(self) -> None:
        """End what has an end of its own; the namespaces take the rest."""
        await self._stack.aclose()

    async def _populate(self, flags: list[str]) -> None:
        certificates = self._etcd_pki.files
        await asyncio.gather(
            self.nodes.start(self.client, self.pki),
            fixture.apply(self.client, certificates=certificates, etcd_flags=flags, options=self.options),
        )
        self._progress(f"{COUNT[len(self.replicas)]} nodes are registered, the user cluster is starting")
        await observe.until_whole(self.client, len(self.replicas))
        await observe.until_healthy(self.gateway, self.replicas)
        self._progress(f"{COUNT[len(self.replicas)]} etcd members are healthy")

    async def _grow(self) -> None:
        if self.options.database_size:
            self._progress(f"filling the database with {self.options.database_size} bytes")
            await self.workload.fill(self.options.database_size)

    async def _etcd_flags(self) -> list[str]:
        """What makes a lab fast without changing what is shown, where this etcd knows it."""
        program = str(etcd_folder(self.options.etcd) / "etcd")
        text = await commands.run(program, "--help")
        return ["--unsafe-no-fsync"] if "--unsafe-no-fsync" in text else []

    def _address(self, replica: str) -> str:
        try:
            _, record = self.nodes.find(NAMESPACE, replica)
        except UnknownPod as error:
            raise LookupError(str(error)) from error
        if not record.address:
            raise LookupError(f"{replica} has no address yet")
        return record.address

    async def destroy(self, replica: str, fault: Fault) -> str:
        """Break a member, or the leader whoever it is; return its name."""
        name = (await observe.etcd(self.gateway, self.replicas)).leader if replica == "leader" else replica
        if name not in self.replicas:
            raise LookupError(f"there is no replica {name}; there are {', '.join(self.replicas)} and leader")
        await self.faults.destroy(name, fault)
        self.failed, self.fault = name, fault
        return name

    async def status(self) -> LabStatus:
        """The lab at a glance."""
        etcd, pods, nodes = await asyncio.gather(
            observe.etcd(self.gateway, self.replicas),
            observe.pods(self.client),
            observe.ready_nodes(self.client),
        )
        return LabStatus(
            kubernetes=self.control_plane.version,
            etcd=etcd.version,
            members=etcd.members,
            leader=etcd.leader,
            pods=pods,
            nodes=nodes,
            agents={name: agent.running for name, agent in self.nodes.agents.items()},
            failed=self.failed,
            fault=self.fault,
            traffic=self.workload.report() if self.workload.ledger.started else None,
        )

    async def report(self) -> LabReport:
        """The judgement; writers should have been stopped, or what they write meanwhile is not judged."""
        assert self._before is not None  # noqa: S101 - the lab has started
        after = await observe.objects(self.client)
        etcd = await observe.etcd(self.gateway, self.replicas)
        return LabReport(
            kubernetes=self.control_plane.version,
            etcd=etcd.version,
            members=etcd.members,
            failed=self.failed,
            traffic=self.workload.report(),
            judgement=await self._judgement(),
            before=self._before,
            after=after,
            pdb_restored=after.pdb_spec == self._before.pdb_spec,
            strategy_restored=after.update_strategy == self._before.update_strategy,
            nodes_restored=after.unschedulable_nodes == self._before.unschedulable_nodes,
        )

    async def members(self) -> list[Member]:
        """The member list as it is now, by a quorum's word; empty while there is none."""
        return await observe.members_now(self.gateway, self.replicas)

    async def evidence(self) -> Evidence:
        """Everything that a judgement rests on; writers should have been stopped."""
        read, members = await asyncio.gather(self._keys(), self.members())
        return Evidence(
            acknowledged=sorted(self.workload.ledger.acknowledged),
            read={name: sorted(keys) for name, keys in read.items() if keys is not None},
            sightings=[Seen(**asdict(seen)) for seen in self.history.sightings],
            members=members,
            on_disk=[
                name for name in self.replicas if (self.faults.data_directory(name) / "member").is_dir()
            ],
        )

    async def _keys(self) -> dict[str, set[str] | None]:
        revision = self.workload.ledger.revision
        read = await asyncio.gather(
            *(observe.caught_up_keys(self.gateway, name, PREFIX, revision) for name in self.replicas)
        )
        return dict(zip(self.replicas, read, strict=True))

    async def _judgement(self) -> Judgement:
        acknowledged = set(self.workload.ledger.acknowledged)  # before the look: writers may be at it still
        read = await self._keys()
        return judge.judge(
            acknowledged=acknowledged,
            read={name: keys for name, keys in read.items() if keys is not None},
            unread=[name for name, keys in read.items() if keys is None],
            sightings=self.history.sightings,
            presences=self.history.presences,
            failed=self.failed,
            until=asyncio.get_running_loop().time(),
        )


def control_plane(options: LabOptions, directory: Path, pki: AdminPki) -> ControlPlane:
    """The control plane that the options ask for, at a fixed port: the network namespace is the lab's alone."""
    if options.kubernetes == "real":
        return RealControlPlane(
            directory, pki, assets=options.assets, port=API_PORT, audit_log=options.audit_log
        )
    from lab.control_plane.simulated import SimulatedControlPlane  # noqa: PLC0415

    return SimulatedControlPlane(directory, pki, port=API_PORT, audit_log=options.audit_log)
