"""All nodes of the lab together, with their network and the cluster DNS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from lab.kube_client import KubeClient
from lab.nodes.agent import NodeAgent, NodeIdentity
from lab.nodes.dns import DnsServer, address_of_reverse_name
from lab.nodes.environment import CLUSTER_DOMAIN
from lab.nodes.network import GATEWAY, PodNetwork
from lab.nodes.pace import Pace
from lab.nodes.records import PodRecord
from lab.nodes.runtime import Folders, Runtime
from lab.nodes.volumes import Volumes
from lab.pki import AdminPki


class UnknownPod(Exception):
    """No node runs a pod of that name."""


class Nodes:
    """The kubelets and what they share; the supervisor, the faults and the workload look pods up here."""

    def __init__(self, names: Iterable[str], labels: dict[str, str], folders: Folders) -> None:
        self._names = tuple(names)
        self._labels = labels
        self._folders = folders
        self._network = PodNetwork()
        self._dns = DnsServer(self._addresses, self._pod_names)
        self._addresses_of_nodes: list[str] = []
        self.agents: dict[str, NodeAgent] = {}
        self.pace = Pace()

    async def prepare(self) -> None:
        """Set up the network and the DNS, for which no API is needed."""
        self._folders.container_root.mkdir(parents=True, exist_ok=True)
        self._addresses_of_nodes = await self._network.start(len(self._names))
        await self._dns.start(str(GATEWAY))

    async def start(self, client: KubeClient, pki: AdminPki) -> None:
        """Start an agent on each node; all nodes are registered when this returns."""
        for name, address in zip(self._names, self._addresses_of_nodes, strict=True):
            labels = {key: value.format(node=name) for key, value in self._labels.items()}
            identity = NodeIdentity(name, address, labels, pki.node(name, address), pki.ca)
            runtime = Runtime(self._network, self._folders, self.pace)
            volumes = Volumes(client, self._folders.root, name)
            self.agents[name] = NodeAgent(identity, runtime, client, volumes)
        await asyncio.gather(*(agent.start() for agent in self.agents.values()))

    async def stop(self) -> None:
        """Stop the agents; the pods end with the lab's PID namespace."""
        await asyncio.gather(*(agent.stop() for agent in self.agents.values()))
        self._dns.close()

    @property
    def records(self) -> list[PodRecord]:
        """Every pod on every node."""
        return [item for agent in self.agents.values() for item in agent.runtime.records.values()]

    def agent(self, node: str) -> NodeAgent:
        """The agent of a node."""
        if node not in self.agents:
            raise LookupError(f"there is no node {node}; there are {', '.join(self.agents)}")
        return self.agents[node]

    def find(self, namespace: str, name: str) -> tuple[Runtime, PodRecord]:
        """The pod of this name and the runtime it lives in."""
        for agent in self.agents.values():
            if record := agent.runtime.find(namespace, name):
                return agent.runtime, record
        raise UnknownPod(f"no node runs a pod {namespace}/{name}")

    async def partition(self, namespace: str, one: str, other: str, *, cut: bool) -> None:
        """Let two pods not reach each other, though everybody else reaches both; or take that back."""
        (runtime, first), (_, second) = self.find(namespace, one), self.find(namespace, other)
        for record, peer in ((first, second), (second, first)):
            await runtime.set_route(record, peer.address, cut=cut)

    def _addresses(self, name: str, asker: str) -> list[str] | None:
        """What a name resolves to: one pod of a headless service, or all of them; a pod knows itself at once."""
        known: dict[str, list[str]] = {}
        for record in self.records:
            public = record.age >= self.pace.dns or record.address == asker
            if record.address and record.subdomain and public:
                known.setdefault(_service(record), []).append(record.address)
                known[_pod_name(record)] = [record.address]
        return known.get(name)

    def _pod_names(self, name: str, _: str) -> list[str] | None:
        address = address_of_reverse_name(name)
        found = [_pod_name(item) for item in self.records if item.address == address and item.subdomain]
        return found or None


def _service(record: PodRecord) -> str:
    return f"{record.subdomain}.{record.namespace}.svc.{CLUSTER_DOMAIN}"


def _pod_name(record: PodRecord) -> str:
    return f"{record.hostname}.{_service(record)}"
