"""The worker's end of a snapshot: written as it comes, checked on the way, and kept only when it is whole.

It is `NAME.db.part` until its checksum holds and it is on the disk, so that a `NAME.db` is always a good one. It holds
the secrets of a whole user cluster: nobody but the worker's user may read it.
"""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from replace_etcd.settings import Settings
from replace_etcd.snapshot import TrailingChecksum, mebibytes, room_for

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
PART = ".part"


class SnapshotOnWorker:
    """One file on its way to the disk; what was not kept is gone when the block ends. Every call may block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checksum = TrailingChecksum()
        self._part = path.with_name(path.name + PART)
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = _create(self._part)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._part.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Take the next piece."""
        assert self._file is not None  # noqa: S101 - it is open inside the block
        self._file.write(chunk)
        self.checksum.feed(chunk)

    def keep(self, described: str) -> None:
        """Put it on the disk under its name, and what is known of it beside it."""
        assert self._file is not None  # noqa: S101 - it is open inside the block
        _flush(self._file)
        self._close()
        self._part.rename(self.path)
        with _create(self.path.with_suffix(".json")) as beside:
            beside.write(described.encode())
            _flush(beside)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def worker_side(settings: Settings, db_size: int) -> str:
    """What stands against keeping a snapshot of this size here; empty where nothing does, or none is to be kept."""
    directory = settings.snapshot_dir
    if directory is None:
        return ""
    if not directory.is_dir():
        return f"{directory} is no directory on {host()}: create it, or mount one there"
    if not os.access(directory, os.W_OK | os.X_OK):
        return (
            f"{directory} on {host()} may not be written by uid {os.geteuid()}: give it to the worker's user"
        )
    free = shutil.disk_usage(directory).free
    return too_little(f"{directory} on {host()}", free, db_size)


def too_little(where: str, free: int, db_size: int) -> str:
    """Why there is no room, with the numbers and the way out; empty where there is."""
    needed = room_for(db_size)
    if free >= needed:
        return ""
    return (
        f"{where} has {mebibytes(free)} free, a snapshot of {mebibytes(db_size)} wants {mebibytes(needed)}:"
        " free some space there"
    )


def folder_for(directory: Path, user_cluster: str, run: str) -> Path:
    """The folder of the user cluster, without what this run's earlier attempts have left half done."""
    folder = directory / user_cluster
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    for left in folder.glob(f"*-{run}-*{PART}"):
        left.unlink(missing_ok=True)
    return folder


def host() -> str:
    """The name of the machine, or the Pod, that this worker runs on."""
    return os.uname().nodename


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE), "wb")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
