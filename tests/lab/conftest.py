"""One control plane of each kind for the whole session, and a namespace for each test.

Every test here states what a user of the API sees, and runs on both: what the simulated control plane claims is
checked against the real one. The control planes run directly on the host's loopback; there are no nodes but those
that a test makes up.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.control_plane import ControlPlane
from lab.control_plane.real import RealControlPlane
from lab.control_plane.simulated import NODE_GRACE, SimulatedControlPlane
from lab.kube_client import KubeClient
from lab.pki import AdminPki
from tests.lab.kubelet import Kubelet
from tests.lab.world import World

KINDS = ["simulated", pytest.param("real", marks=pytest.mark.needs("kubernetes"))]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> AdminPki:
    """The certificates that both control planes trust."""
    return AdminPki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session", params=KINDS)
def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pki: AdminPki
) -> Iterator[ControlPlane]:
    """A running control plane; each test that uses it runs on the simulated and on the real one."""
    with run_control_plane(request.param, tmp_path_factory.mktemp(request.param), pki) as started:
        yield started


def make_control_plane(
    kind: str,
    directory: Path,
    pki: AdminPki,
    *,
    node_grace: int | None = None,
    audit_log: Path | None = None,
) -> RealControlPlane | SimulatedControlPlane:
    """Make a control plane of either kind, not started; `node_grace` shortens its patience with silent nodes."""
    if kind == "simulated":
        grace = node_grace or NODE_GRACE
        return SimulatedControlPlane(directory, pki, node_grace=grace, audit_log=audit_log)
    impatient = (f"--node-monitor-grace-period={node_grace}s", "--node-monitor-period=1s")
    options = impatient if node_grace else ()
    return RealControlPlane(directory, pki, controller_options=options, audit_log=audit_log)


@contextmanager
def run_control_plane(
    kind: str, directory: Path, pki: AdminPki, *, node_grace: int | None = None
) -> Iterator[ControlPlane]:
    """Run a control plane in a loop of its own: the tests' loops come and go."""
    made = make_control_plane(kind, directory, pki, node_grace=node_grace)
    with asyncio.Runner() as runner:
        runner.run(made.start())
        try:
            yield made
        finally:
            runner.run(made.stop())


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """The administrator's connection."""
    async with KubeClient.from_kubeconfig(control_plane.kubeconfig) as connected:
        yield connected


@pytest.fixture
async def world(client: KubeClient, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A namespace of the test's own, and what it makes up in it; nodes and volumes go when it ends."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    made = World(client, await _free_namespace(client, name))
    yield made
    await made.remove()


async def _free_namespace(client: KubeClient, name: str) -> str:
    created = await client.create("namespaces", {"metadata": {"generateName": f"{name}-"}})
    namespace: str = created["metadata"]["name"]
    return namespace


@pytest.fixture
async def kubelet(world: World) -> AsyncIterator[Kubelet]:
    """Something that makes the namespace's pods run and end, as a kubelet reports it."""
    async with Kubelet(world.client, world.namespace) as running:
        yield running
