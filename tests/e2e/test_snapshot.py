"""The snapshot on real etcd: a good one is restored, and every bad one stops the run before anything is removed.

One lab, whose kube-etcd-1 has failed and whose utility Pod is there, serves all tests on etcd 3.5.1; the faults are
real: a node agent that dies, a byte that is changed in the Pod, a file system without room.
"""

import asyncio
import hashlib
import json
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.preflight import PreflightActivities
from activities.snapshot import ATTEMPTS, SnapshotActivities
from activities.snapshot_in_pod import LIMITED
from activities.step import Toolbox
from activities.utility_pod import UtilityPodActivities
from lab.binaries import distributed_etcd_folder, etcd_assets
from lab.client import LabClient
from lab.options import LabOptions
from lab.runner import running_lab
from replace_etcd.cluster import CONFIG_MAP, CommandResult
from replace_etcd.errors import LockLost, Moved, OutcomeUnknown, SnapshotDamaged, SnapshotRefused
from replace_etcd.kubernetes_cluster import KubernetesCluster, connect
from replace_etcd.models.orders import Order, SnapshotOrder, SnapshotTaken
from replace_etcd.models.record import Record
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.result import Snapshot
from replace_etcd.settings import Settings
from replace_etcd.utility_pod import CONTAINER
from tests.activities.conftest import IDENTITY, Bench
from tests.e2e.conftest import NAMESPACE, REAL, as_asked, replaced, scene_of
from tests.workflows.script import PINS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("namespaces")]
FAILED, NODE, POD = "kube-etcd-1", "node-2", "etcd-utility-1"
DATABASE = 32 * 2**20
LINES = [pytest.param({"line": line}, marks=pytest.mark.needs(f"etcd-{line}")) for line in ("3.5", "3.6")]
LABS = [*LINES, pytest.param({"kubernetes": "real"}, marks=REAL.marks)]
Streamed = Callable[..., Awaitable[CommandResult]]


@dataclass
class Stage:
    """A lab with a failed member, a claimed record and a utility Pod."""

    lab: LabClient
    cluster: KubernetesCluster
    bench: Bench
    utility_uid: str

    async def take(
        self,
        directory: Path | None,
        *,
        attempt: int = 1,
        environment: ActivityEnvironment | None = None,
        **order: Any,
    ) -> SnapshotTaken:
        """One attempt of the step, on a worker that keeps snapshots in this directory."""
        environment = environment or ActivityEnvironment()
        environment.info = replace(environment.info, attempt=attempt, scheduled_time=datetime.now(UTC))
        tools = replace(self.bench.tools, settings=Settings(snapshot_dir=directory))
        given = self.bench.order(SnapshotOrder, **({"utility_uid": self.utility_uid} | order))
        taken: SnapshotTaken = await environment.run(SnapshotActivities(tools).take_snapshot, given)
        return taken

    async def shell(self, script: str) -> str:
        """Run a script in the utility Pod."""
        command = ["/bin/sh", "-c", script]
        answer = await self.cluster.execute(NAMESPACE, POD, CONTAINER, command, seconds=60)
        assert answer.exit_code == 0, answer
        return answer.stdout

    async def put(self, key: str, value: str) -> None:
        """Write a key by a survivor."""
        folder = "/etcd.local.config/certificates"
        script = (
            f"etcdctl --endpoints=https://127.0.0.1:2379 --cacert={folder}/etcdCA.crt --cert={folder}/etcd.crt"
            f" --key={folder}/etcd.key put {key} {value}"
        )
        command = ["/bin/sh", "-c", script]
        answer = await self.cluster.execute(NAMESPACE, "kube-etcd-0", "kube-etcd", command, seconds=60)
        assert answer.exit_code == 0, answer


@asynccontextmanager
async def stage_of(options: LabOptions) -> AsyncIterator[Stage]:
    """Everything that comes before the snapshot, by the steps themselves."""
    async with running_lab(as_asked(options)) as lab:
        cluster = await connect(str(lab.kubeconfig), None)
        try:
            await lab.destroy(FAILED, "corrupt-wal")
            bench = Bench(cluster, PINS)
            bench.tools = Toolbox(cluster, Settings(), IDENTITY, bench.runs)
            looked = await ActivityEnvironment().run(
                PreflightActivities(bench.tools).preflight, ReplacementRequest(user_cluster=NAMESPACE)
            )
            assert looked.plan.pins is not None, looked.plan.refusals
            bench.pins = looked.plan.pins
            await bench.claim()
            ready = await bench.run(UtilityPodActivities(bench.tools).create_utility_pod, bench.order(Order))
            yield Stage(lab, cluster, bench, ready.uid)
        finally:
            await cluster.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with stage_of(LabOptions(database_size=DATABASE)) as made:
        yield made


def is_the_transfer(where: Sequence[Any]) -> bool:
    """Every command goes through `stream`; only one of them reads the file."""
    return "cat" in where[3]


def in_the_middle(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, event: Callable[[], Awaitable[None]]
) -> None:
    """Let something happen once a part of the file has come."""
    stream: Streamed = stage.cluster.stream

    async def meddled(*where: Any, **limits: Any) -> CommandResult:
        *place, sink = where
        happened = not is_the_transfer(place)

        async def take(chunk: bytes) -> None:
            nonlocal happened
            await sink(chunk)
            if not happened:
                happened = True
                await event()

        return await stream(*place, take, **limits)

    monkeypatch.setattr(stage.cluster, "stream", meddled)


def before_the_stream(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, event: Callable[[], Awaitable[object]]
) -> None:
    """Let something happen between the look at the file and its transfer."""
    stream: Streamed = stage.cluster.stream

    async def meddled(*where: Any, **limits: Any) -> CommandResult:
        if is_the_transfer(where):
            await event()
        return await stream(*where, **limits)

    monkeypatch.setattr(stage.cluster, "stream", meddled)


def files(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file()]


def content_of(snapshot: Snapshot | None) -> bytes:
    assert snapshot is not None
    content = Path(snapshot.path).read_bytes()
    assert (snapshot.size, snapshot.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return content


def restored(snapshot: Snapshot, etcd: Path, directory: Path) -> bytes:
    """Let etcd's own tool check and restore it; returns the restored database."""
    target = directory / "restored"
    subprocess.run(
        [etcd / "etcdutl", "snapshot", "restore", snapshot.path, "--data-dir", target],
        check=True,
        capture_output=True,
    )
    return (target / "member" / "snap" / "db").read_bytes()


async def kept_and_restored(stage: Stage, directory: Path, etcd: Path) -> Snapshot:
    """The promise of a good snapshot."""
    await stage.put("the-key", "the-value-that-must-come-back")
    taken = await stage.take(directory)
    snapshot = taken.snapshot
    assert snapshot is not None
    path, content = Path(snapshot.path), content_of(snapshot)
    assert snapshot.revision > 1
    assert snapshot.total_keys > 0
    assert sorted(files(directory)) == [path.name, path.with_suffix(".json").name]
    assert path.parent == directory / NAMESPACE
    beside = json.loads(path.with_suffix(".json").read_text())
    assert beside["sha256_appended_by_etcd"] == content[-32:].hex()
    assert beside["user_cluster"] == NAMESPACE
    assert beside["taken_of"] in ("kube-etcd-0", "kube-etcd-2")
    assert b"the-value-that-must-come-back" in await asyncio.to_thread(restored, snapshot, etcd, directory)
    return snapshot


async def test_a_good_snapshot_is_kept_whole_and_can_be_restored(stage: Stage, tmp_path: Path) -> None:
    snapshot = await kept_and_restored(stage, tmp_path, distributed_etcd_folder())
    assert snapshot.size > DATABASE


@pytest.mark.parametrize("kind", LABS)
async def test_other_lines_of_etcd_and_a_real_control_plane_serve_alike(
    kind: dict[str, str], tmp_path: Path
) -> None:
    etcd = distributed_etcd_folder()
    options = LabOptions.model_validate({key: value for key, value in kind.items() if key != "line"})
    if "line" in kind:
        etcd = next(folder for folder in etcd_assets() if folder.name.startswith(f"{kind['line']}."))
        options = LabOptions(etcd=etcd)
    async with stage_of(options) as made:
        await kept_and_restored(made, tmp_path, etcd)


async def test_no_more_than_a_piece_of_it_is_ever_held(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracemalloc.start()
    try:
        taken = await stage.take(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken.snapshot is not None
    assert taken.snapshot.size > DATABASE
    assert peak < DATABASE // 4


async def test_without_a_directory_it_is_skipped_and_says_so(stage: Stage) -> None:
    taken = await stage.take(None)
    assert taken.snapshot is None
    assert taken.note.startswith("skipped: REPLACE_ETCD_SNAPSHOT_DIR is not set")


async def test_without_a_directory_a_required_one_is_refused(stage: Stage) -> None:
    with pytest.raises(SnapshotRefused, match="REPLACE_ETCD_SNAPSHOT_DIR is not set"):
        await stage.take(None, required=True)


async def test_a_connection_that_breaks_leaves_nothing_and_the_next_attempt_begins_anew(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as meddled:
        in_the_middle(stage, meddled, lambda: stage.lab.set_agent(NODE, running=False))
        with pytest.raises(OutcomeUnknown):
            await stage.take(tmp_path)
    assert files(tmp_path) == []
    await stage.lab.set_agent(NODE, running=True)
    taken = await stage.take(tmp_path, attempt=2)
    assert content_of(taken.snapshot)


async def test_one_that_ends_too_early_is_not_kept(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some kubelets lose the end of a long output, with a Status that says Success."""
    before_the_stream(stage, monkeypatch, lambda: stage.shell("truncate -s -4096 /snapshot/*.db"))
    with pytest.raises(SnapshotDamaged, match="cut short"):
        await stage.take(tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize(("attempt", "error"), [(1, SnapshotDamaged), (ATTEMPTS, SnapshotRefused)])
async def test_a_changed_byte_is_found_by_the_checksum_and_final_at_last(
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    attempt: int,
    error: type[Exception],
) -> None:
    script = "printf X | dd of=$(echo /snapshot/*.db) bs=1 seek=40000 conv=notrunc"
    before_the_stream(stage, monkeypatch, lambda: stage.shell(script))
    with pytest.raises(error, match="does not have the checksum"):
        await stage.take(tmp_path, attempt=attempt)
    assert files(tmp_path) == []


async def test_too_little_room_in_the_pod_is_refused_with_numbers(stage: Stage, tmp_path: Path) -> None:
    await stage.shell("mount -t tmpfs -o size=1m small /snapshot")
    try:
        with pytest.raises(
            SnapshotRefused, match=r"/snapshot .*1\.0 MiB free, .* wants \d+\.\d MiB: free some"
        ):
            await stage.take(tmp_path)
    finally:
        await stage.shell("umount /snapshot")
    assert files(tmp_path) == []


async def test_a_directory_that_is_gone_is_refused_before_anything_is_saved(
    stage: Stage, tmp_path: Path
) -> None:
    with pytest.raises(SnapshotRefused, match="is no directory"):
        await stage.take(tmp_path / "gone")
    assert (await stage.shell("ls /snapshot")).split() == []


async def test_a_disk_that_fills_up_meanwhile_is_refused_too(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's directory goes away: an error of its disk, which no other attempt would mend."""

    async def vanish() -> None:
        (tmp_path / NAMESPACE).rename(tmp_path / "elsewhere")

    in_the_middle(stage, monkeypatch, vanish)
    with pytest.raises(SnapshotRefused, match="cannot be kept"):
        await stage.take(tmp_path)


async def test_a_command_of_an_earlier_attempt_is_ended_and_its_files_are_removed(
    stage: Stage, tmp_path: Path
) -> None:
    """Its connection is gone, the command goes on; a process that only has the pid of one is left alone."""
    earlier = ["/bin/sh", "-c", LIMITED, "sh", "/snapshot/earlier.pid", "600"]
    earlier += ["sh", "-c", "touch $1; sleep 600", "sh", "/snapshot/earlier.db.part"]
    stranger = ["/bin/sh", "-c", "echo $$ >/snapshot/stranger.pid; exec sleep 601"]
    running = [
        asyncio.create_task(stage.cluster.execute(NAMESPACE, POD, CONTAINER, command, seconds=120))
        for command in (earlier, stranger)
    ]
    await stage.shell(
        "until [ -e /snapshot/earlier.db.part ] && [ -s /snapshot/stranger.pid ]; do sleep 0.1; done"
    )
    pid = (await stage.shell("cat /snapshot/stranger.pid")).strip()

    taken = await stage.take(tmp_path, attempt=2)
    assert taken.snapshot is not None
    assert (await running[0]).exit_code != 0
    left = (await stage.shell("ls /snapshot")).split()
    assert not any(name.startswith(("earlier", "stranger")) for name in left), left
    await stage.shell(f"kill -0 {pid} && kill {pid}")
    assert (await running[1]).exit_code != 0


async def test_an_attempt_that_is_late_keeps_nothing(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def another_takes_the_record() -> None:
        config_map = await stage.cluster.get(CONFIG_MAP, "kube-etcd-replacement", NAMESPACE)
        assert config_map is not None
        record = Record.from_data(config_map["data"])
        taken = record.model_copy(update={"attempt": "another", "until": datetime.now(UTC)})
        await stage.cluster.replace(CONFIG_MAP, config_map | {"data": taken.to_data()})

    in_the_middle(stage, monkeypatch, another_takes_the_record)
    with pytest.raises(LockLost):
        await stage.take(tmp_path)
    assert files(tmp_path) == []


async def test_a_stop_leaves_nothing(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ActivityEnvironment()

    async def stop() -> None:
        environment.cancel()
        await asyncio.Event().wait()

    in_the_middle(stage, monkeypatch, stop)
    with pytest.raises(asyncio.CancelledError):
        await stage.take(tmp_path, environment=environment)
    assert files(tmp_path) == []


async def test_another_pod_under_the_name_is_left_alone(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(Moved, match="utility Pod"):
        await stage.take(tmp_path, utility_uid="another")
    assert files(tmp_path) == []


async def test_a_replacement_keeps_a_snapshot_before_it_removes_anything(tmp_path: Path) -> None:
    directory = tmp_path / "snapshots"
    directory.mkdir()
    async with scene_of(LabOptions(), tmp_path, REPLACE_ETCD_SNAPSHOT_DIR=str(directory)) as scene:
        await scene.destroy()
        result = await scene.result(await scene.start(require_snapshot=True))
        report = await scene.judgement()
    replaced(result, report)
    names = [step.name for step in result.steps]
    assert names.index("take_snapshot") < names.index("remove_member")
    assert content_of(result.snapshot)
