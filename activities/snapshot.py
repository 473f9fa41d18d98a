"""The snapshot: the last good copy of the data, kept outside of the cluster before the member is removed.

After the removal the cluster bears no further failure until the new member is a voter; should a survivor die then,
this file is what the user cluster is restored from. A setting says where it is kept; with it, a run goes on only with
a snapshot whose checksum holds (docs/contract.md, Order, 6).
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities.fencing import Attempt, fenced
from activities.side_by_side import side_by_side
from activities.snapshot_in_pod import SnapshotInPod
from activities.snapshot_on_worker import SnapshotOnWorker, folder_for, host, too_little, worker_side
from activities.step import Toolbox, step, tell
from activities.survivors import Survivors
from replace_etcd.cluster import POD
from replace_etcd.errors import CommandFailed, Moved, OutcomeUnknown, SnapshotDamaged, SnapshotRefused
from replace_etcd.models.orders import SnapshotOrder, SnapshotTaken
from replace_etcd.models.plan import Survivor
from replace_etcd.models.result import Snapshot
from replace_etcd.snapshot import SnapshotStatus, TrailingChecksum, mebibytes
from replace_etcd.utility_pod import SCRATCH, name_of

__all__ = ["SnapshotActivities", "worker_side"]

ATTEMPTS = 5
RUN_CHARACTERS = 8
TELL_EVERY = 4 * 2**20
NOWHERE = "REPLACE_ETCD_SNAPSHOT_DIR is not set, so there is nowhere to keep a snapshot"


class SnapshotActivities:
    """The step that takes the snapshot."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._survivors = Survivors(tools)

    @step
    async def take_snapshot(self, order: SnapshotOrder) -> SnapshotTaken:
        """Take a survivor's snapshot by the utility Pod and keep it on this worker; skipped where none is to be kept.

        Every attempt begins anew, with a file of its own: nothing that an earlier one left is trusted. It changes
        nothing in the cluster, so whoever comes next need not wait for the end of a command.
        """
        directory = self._tools.settings.snapshot_dir
        if directory is None and order.required:
            raise SnapshotRefused(f"{NOWHERE}, and require_snapshot asks for one: set it, then start again")
        if directory is None:
            return SnapshotTaken(note=f"skipped: {NOWHERE}")
        async with fenced(self._tools, order) as attempt:
            await self._utility_pod_must_stand(order)
            await attempt.hold()
            attempt.settled()
            source = SnapshotInPod(self._tools, order, attempt.token)
            survivor = await self._room_on_both_ends(order, source)
            try:
                with _refused_at_last():
                    snapshot = await self._take(order, attempt, source, survivor, directory)
            except OutcomeUnknown:
                await attempt.end()
                raise
        return SnapshotTaken(
            snapshot=snapshot,
            note=f"{mebibytes(snapshot.size)} of {survivor.pod} at revision {snapshot.revision},"
            f" {snapshot.total_keys} keys, at {snapshot.host}:{snapshot.path}",
        )

    async def _utility_pod_must_stand(self, order: SnapshotOrder) -> None:
        pins = order.pins
        pod = await self._tools.cluster.get(POD, name_of(pins, self._tools.settings), pins.user_cluster)
        if pod is None or pod["metadata"]["uid"] != order.utility_uid:
            raise Moved("the utility Pod is gone, or is not the one of the order")

    async def _room_on_both_ends(self, order: SnapshotOrder, source: SnapshotInPod) -> Survivor:
        """Choose the survivor to ask, and see that its database fits where it will pass."""
        survivor, db_size = await self._choose(order)
        free = await source.make_room()
        in_pod = too_little(f"{SCRATCH} (ephemeral storage of {order.pins.node})", free, db_size)
        against = [each for each in (in_pod, worker_side(self._tools.settings, db_size)) if each]
        if against:
            raise SnapshotRefused("; ".join(against))
        return survivor

    async def _choose(self, order: SnapshotOrder) -> tuple[Survivor, int]:
        """A follower first, since the leader has enough to do; another one at every attempt."""
        pins = order.pins
        asked = (self._survivors.status(pins, survivor.pod) for survivor in pins.survivors)
        statuses = await side_by_side(*asked)
        found = [
            (status.leader_id == status.member_id, number, survivor, status.db_size)
            for number, (survivor, status) in enumerate(zip(pins.survivors, statuses, strict=True))
            if survivor.client_urls
        ]
        if not found:
            raise SnapshotRefused("no survivor advertises a client URL that another pod could use")
        _, _, survivor, db_size = sorted(found)[(activity.info().attempt - 1) % len(found)]
        return survivor, db_size

    async def _take(
        self,
        order: SnapshotOrder,
        attempt: Attempt,
        source: SnapshotInPod,
        survivor: Survivor,
        directory: Path,
    ) -> Snapshot:
        tell(f"snapshot of {survivor.pod}: into the utility Pod")
        await source.save(survivor.client_urls[0])
        size, status = await source.look()
        with _directory_errors():
            path = await asyncio.to_thread(self._path, order, survivor, directory)
            with SnapshotOnWorker(path) as target:
                await _receive(source, target, survivor.pod, size)
                _must_be_whole(target.checksum, size)
                await attempt.hold()
                snapshot = _snapshot(target, status)
                await asyncio.to_thread(target.keep, _beside(order, survivor, target.checksum, snapshot))
                attempt.settled()
        return snapshot

    def _path(self, order: SnapshotOrder, survivor: Survivor, directory: Path) -> Path:
        run = order.fence.run_id[:RUN_CHARACTERS]
        folder = folder_for(directory, order.pins.user_cluster, run)
        return folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{run}-{survivor.pod}.db"


async def _receive(source: SnapshotInPod, target: SnapshotOnWorker, pod: str, size: int) -> None:
    """Every chunk goes to the disk before the next is read."""

    async def take(chunk: bytes) -> None:
        before = target.checksum.size // TELL_EVERY
        await asyncio.to_thread(target.write, chunk)
        if target.checksum.size // TELL_EVERY != before:
            tell(f"snapshot of {pod}: {target.checksum.size} of {size} bytes are here")

    await source.stream(take)


def _must_be_whole(checksum: TrailingChecksum, size: int) -> None:
    if checksum.size != size:
        raise SnapshotDamaged(f"the snapshot was cut short: {checksum.size} of {size} bytes came")
    if not checksum.holds:
        raise SnapshotDamaged(f"the snapshot of {size} bytes does not have the checksum that etcd appended")


def _snapshot(target: SnapshotOnWorker, status: SnapshotStatus) -> Snapshot:
    return Snapshot(
        host=host(),
        path=str(target.path),
        size=target.checksum.size,
        sha256=target.checksum.whole,
        revision=status.revision,
        total_keys=status.total_keys,
    )


def _beside(order: SnapshotOrder, survivor: Survivor, checksum: TrailingChecksum, snapshot: Snapshot) -> str:
    """What a person who finds the file years later wants to know."""
    pins, fence = order.pins, order.fence
    more = {
        "sha256_appended_by_etcd": checksum.appended,
        "user_cluster": pins.user_cluster,
        "taken_of": survivor.pod,
        "member_id": survivor.member_id,
        "etcd_version": pins.etcd_version,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "before_the_replacement_of": pins.replica,
        "workflow_id": fence.workflow_id,
        "run_id": fence.run_id,
    }
    return json.dumps(snapshot.model_dump() | more, indent=1) + "\n"


@contextmanager
def _directory_errors() -> Iterator[None]:
    """What stands in the way on the worker's own disk is not mended by another attempt."""
    try:
        yield
    except OSError as error:
        raise SnapshotRefused(f"the snapshot cannot be kept on {host()}: {error}") from error


@contextmanager
def _refused_at_last() -> Iterator[None]:
    """A bad snapshot may be the fault of one survivor, or of one transfer; the last attempt says it for good."""
    try:
        yield
    except (CommandFailed, SnapshotDamaged) as error:
        if activity.info().attempt < ATTEMPTS:
            raise
        raise SnapshotRefused(f"no good snapshot in {ATTEMPTS} attempts: {error}") from error
