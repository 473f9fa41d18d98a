"""What a snapshot of etcd looks like, and how much room one takes; pure.

etcd appends the SHA-256 of the database to it, so that a file whose size is 32 more than whole sectors can be
checked by itself (https://github.com/etcd-io/etcd/blob/release-3.5/etcdutl/snapshot/v3_snapshot.go, hasChecksum).
"""

import hashlib
import json
import re

from replace_etcd.models import Message

SECTOR = 512
DIGEST = hashlib.sha256().digest_size
MARGIN = 64 * 2**20
_FREE = re.compile(r"\s\d+\s+\d+\s+(?P<free>\d+)\s+(?:\d+%|-)\s")


class SnapshotStatus(Message):
    """What `snapshot status` says of a file whose pages it has all read."""

    hash: int
    revision: int
    total_keys: int


class TrailingChecksum:
    """Checks a snapshot while it passes by, in pieces of any size; it keeps 32 bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._content = hashlib.sha256()
        self._whole = hashlib.sha256()
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        self.size += len(chunk)
        self._whole.update(chunk)
        held = self._tail + chunk
        self._content.update(memoryview(held)[:-DIGEST])
        self._tail = held[-DIGEST:]

    @property
    def is_there(self) -> bool:
        """Whether the file is one to which etcd has appended its checksum."""
        return self.size > DIGEST and self.size % SECTOR == DIGEST

    @property
    def holds(self) -> bool:
        """Whether the last 32 bytes are the SHA-256 of all before them."""
        return self.is_there and self._tail == self._content.digest()

    @property
    def whole(self) -> str:
        """The SHA-256 of the whole file, as `sha256sum` prints it."""
        return self._whole.hexdigest()

    @property
    def appended(self) -> str:
        """The checksum that etcd has appended."""
        return self._tail.hex()


def room_for(db_size: int) -> int:
    """The free bytes that a snapshot of a database wants, which goes on growing while it is taken."""
    return db_size + db_size // 10 + MARGIN


def free_bytes(df: str) -> int:
    """Read `df -Pk` of one file system (POSIX: one line under the heading, blocks of 1024 bytes)."""
    found = _FREE.search((df.splitlines() or [""])[-1])
    if found is None:
        raise ValueError(f"not what df -Pk prints: {df!r}")
    return int(found["free"]) * 1024


def parse_snapshot_status(output: str) -> SnapshotStatus:
    """Read `snapshot status -w json`."""
    status = json.loads(output)
    return SnapshotStatus(hash=status["hash"], revision=status["revision"], total_keys=status["totalKey"])


def mebibytes(size: int) -> str:
    """A size for people."""
    return f"{size / 2**20:.1f} MiB"
