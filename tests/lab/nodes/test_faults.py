"""Each fault takes effect before it is reported, shows as it does on a real cluster, and costs one member only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lab.client import LabClient, LabError
from lab.fixture.names import NAMESPACE, REPLICAS
from lab.kube_client import KubeClient
from lab.models import Fault
from lab.options import LabOptions
from lab.runner import running_lab
from tests.lab.nodes import pods
from tests.lab.nodes.waiting import until

pytestmark = [pytest.mark.timeout(180), pytest.mark.needs("namespaces")]
REAL = pytest.mark.needs("kubernetes")


@pytest.fixture
async def broken(kind: str, tmp_path: Path) -> AsyncIterator[LabClient]:
    """A lab of the test's own, to be broken."""
    async with running_lab(LabOptions(kubernetes=kind), tmp_path) as lab:
        await lab.start_traffic()
        yield lab


async def pod(lab: LabClient, name: str) -> pods.Json:
    """A pod of the user cluster."""
    async with KubeClient.from_kubeconfig(lab.kubeconfig) as client:
        return await client.get("pods", name, NAMESPACE)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("simulated", "corrupt-wal"), pytest.param("real", "corrupt-db", marks=REAL), ("simulated", "wipe")],
)
async def test_a_destroyed_member_crash_loops_and_the_others_serve_on(
    broken: LabClient, fault: Fault
) -> None:
    """Not Ready when the call returns, then CrashLoopBackOff for good; no write is lost."""
    assert await broken.destroy("kube-etcd-1", fault) == "kube-etcd-1"
    assert not pods.container_status(await pod(broken, "kube-etcd-1"))["ready"]

    async def looping() -> bool:
        return pods.restarts(await pod(broken, "kube-etcd-1")) >= 2

    await until(looping)
    await still_written(broken)
    report = await broken.report()
    assert report.judgement.lost_writes == 0
    assert report.judgement.unread_members == ["kube-etcd-1"]
    assert report.judgement.survivor_restarts == 0
    assert report.traffic.longest_gap_seconds < 5


@pytest.mark.parametrize("kind", ["simulated", pytest.param("real", marks=REAL)])
async def test_a_hung_member_looks_well_until_its_probe_fails(broken: LabClient) -> None:
    """Its process is there, its pod Ready for some ten seconds: ask etcd, not Kubernetes."""
    began = time.monotonic()
    await broken.destroy("kube-etcd-0", "hang")
    assert pods.ready(await pod(broken, "kube-etcd-0"))

    async def unready() -> bool:
        return not pods.ready(await pod(broken, "kube-etcd-0"))

    await until(unready)
    assert time.monotonic() - began > 3
    assert pods.restarts(await pod(broken, "kube-etcd-0")) == 0
    await still_written(broken)


@pytest.mark.parametrize("kind", ["simulated"])
async def test_the_leader_is_found_and_another_member_takes_over(broken: LabClient) -> None:
    """`leader` stands for whoever leads when the fault is asked for."""
    leader = (await broken.status()).leader
    assert leader in REPLICAS
    assert await broken.destroy("leader", "corrupt-wal") == leader

    async def another_leads() -> bool:
        return (await broken.status()).leader not in {None, leader}

    await until(another_leads)


@pytest.mark.parametrize("kind", ["simulated"])
async def test_nobody_breaks_what_is_not_there(broken: LabClient) -> None:
    """One sentence that names what there is."""
    with pytest.raises(LabError, match="there are kube-etcd-0, kube-etcd-1, kube-etcd-2 and leader"):
        await broken.destroy("kube-etcd-7", "wipe")


@pytest.mark.parametrize("kind", ["simulated", pytest.param("real", marks=REAL)])
async def test_etcd_needs_no_api_server_and_the_evidence_none_of_the_judge(broken: LabClient) -> None:
    """Killed, the API server answers nobody, and members and writes go on; started, everything is as it was."""
    members = await broken.members()
    await broken.control_plane("kill")
    with pytest.raises(aiohttp.ClientError):
        await pod(broken, "kube-etcd-0")
    assert await broken.members() == members
    assert [member.name for member in members] == list(REPLICAS)
    await broken.control_plane("start")
    assert pods.ready(await pod(broken, "kube-etcd-0"))
    await broken.stop_traffic()
    evidence = await broken.evidence()
    assert evidence.on_disk == list(REPLICAS)
    assert len(evidence.acknowledged) > 0
    assert all(set(evidence.acknowledged) <= set(evidence.read[name]) for name in REPLICAS)
    assert {seen.pod for seen in evidence.sightings} == set(REPLICAS)


async def still_written(lab: LabClient) -> None:
    """Writes are acknowledged after the fault, too."""
    status = await lab.status()
    assert status.traffic is not None
    before = status.traffic.acknowledged

    async def more() -> bool:
        found = (await lab.status()).traffic
        return found is not None and found.acknowledged > before + 20

    await until(more)
    assert (await asyncio.wait_for(lab.status(), 5)).failed is not None
