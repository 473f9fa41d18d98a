"""Attacks on the wipe: under a running etcd, by a late order, through a wrong path; on real etcd.

A wipe under a running member passes every health check until that member's next restart, so nothing but the
command itself can be trusted to refuse.
"""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.data_directory import WIPE, DataDirectoryActivities
from activities.step import TemporalIdentity, Toolbox
from activities.utility_pod import UtilityPodActivities
from lab.options import LabOptions
from lab.runner import running_lab
from replace_etcd.cluster import AdminCluster, CommandResult
from replace_etcd.errors import Moved
from replace_etcd.kubernetes_cluster import connect
from replace_etcd.models.orders import Order, UtilityPodOrder
from replace_etcd.settings import Settings
from replace_etcd.utility_pod import CONTAINER
from tests.activities.conftest import Bench
from tests.e2e.conftest import NAMESPACE, as_asked
from tests.workflows.script import PINS

LAB_PINS = PINS.model_copy(update={"certificates_secret": "kube-etcd-certs-7b9c5d"})
TOOLS_WITHOUT_FLOCK = "for t in sh mv rm find stat mkdir; do ln -sf $(command -v $t) /tmp/$t; done"


class Beside:
    """A utility Pod beside a member that runs, on the same volume."""

    def __init__(self, bench: Bench, uid: str, inode: str) -> None:
        self.bench = bench
        self.uid = uid
        self.inode = inode

    async def shell(self, script: str, *arguments: str) -> CommandResult:
        """Run a script in the utility Pod."""
        command = ["/bin/sh", "-c", script, "sh", *arguments]
        return await self.bench.cluster.execute(NAMESPACE, "etcd-utility-1", CONTAINER, command, seconds=30)

    async def wipe(
        self, *, uid: str = "", run: str = "", inode: str | None = None, path: str = "/var/lib/etcd"
    ) -> int:
        """The wipe's own exit code."""
        arguments = (path, uid or self.uid, run or self.bench.run_id, self.inode if inode is None else inode)
        return (await self.shell(WIPE, *arguments, uuid.uuid4().hex)).exit_code

    async def wipe_without_flock(self, inode: str) -> int:
        """As in an image that has no flock."""
        await self.shell(TOOLS_WITHOUT_FLOCK)
        arguments = ("/var/lib/etcd", self.uid, self.bench.run_id, inode, uuid.uuid4().hex)
        return (await self.shell(f"PATH=/tmp; {WIPE}", *arguments)).exit_code

    async def files(self) -> str:
        """What the volume holds."""
        return (await self.shell("ls -A /var/lib/etcd")).stdout


@pytest.fixture(scope="module")
def lab_options() -> LabOptions:
    return LabOptions()


@pytest.fixture
async def cluster(lab_options: LabOptions) -> AsyncIterator[AdminCluster]:
    async with running_lab(as_asked(lab_options)) as lab:
        connected = await connect(str(lab.kubeconfig), None)
        yield connected
        await connected.close()


async def beside(cluster: AdminCluster) -> Beside:
    """Put a utility Pod beside kube-etcd-1, which runs."""
    bench = Bench(cluster, LAB_PINS)
    bench.tools = Toolbox(cluster, Settings(), TemporalIdentity("temporal-1", "default"), bench.runs)
    await bench.claim()
    ready = await bench.run(UtilityPodActivities(bench.tools).create_utility_pod, bench.order(Order))
    return Beside(bench, ready.uid, ready.member_inode)


async def test_the_wipe_refuses_itself_wherever_it_could_harm(cluster: AdminCluster, tmp_path: Path) -> None:
    pod = await beside(cluster)
    assert pod.inode.isdigit()
    assert "member" in await pod.files()

    assert await pod.wipe() == 22, "an etcd runs: it holds the lock of its database"
    assert await pod.wipe(uid="another") == 21
    assert await pod.wipe(run="another") == 21
    assert await pod.wipe(path="/etc") == 24
    assert await pod.wipe(path="/var/lib/etcd/../../etc") == 24
    assert await pod.wipe(inode="1") == 23
    assert await pod.wipe_without_flock("1") == 23, "without flock only the recorded directory is wiped"
    await pod.shell("ln -s /etc /var/lib/etcd/link")
    assert await pod.wipe(path="/var/lib/etcd/link") == 24
    await pod.shell("rm /var/lib/etcd/link; mkdir -p /var/lib/etcd/a/b; ln -s a /var/lib/etcd/c")
    assert await pod.wipe(path="/var/lib/etcd/c/b") == 24
    assert "member" in await pod.files()

    activities = DataDirectoryActivities(pod.bench.tools)
    order = pod.bench.order(UtilityPodOrder, utility_uid=pod.uid, member_inode=pod.inode)
    with pytest.raises(Moved, match="still stands under this name"):
        await pod.bench.run(activities.clean_data_directory, order)
    assert "member" in await pod.files()
