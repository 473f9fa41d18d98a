"""The checksum that etcd appends, the room that a snapshot wants, and what stands against keeping one."""

import hashlib
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.snapshot import worker_side
from activities.snapshot_on_worker import SnapshotOnWorker, folder_for
from replace_etcd.settings import Settings
from replace_etcd.snapshot import TrailingChecksum, free_bytes, parse_snapshot_status, room_for

CONTENT = bytes(range(256)) * 4
GOOD = CONTENT + hashlib.sha256(CONTENT).digest()


def fed(*chunks: bytes) -> TrailingChecksum:
    checksum = TrailingChecksum()
    for chunk in chunks:
        checksum.feed(chunk)
    return checksum


@given(st.lists(st.integers(0, len(GOOD)), max_size=12))
def test_it_does_not_matter_in_which_pieces_a_snapshot_comes(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(GOOD)]
    checksum = fed(*(GOOD[one:other] for one, other in pairwise(edges)))
    assert checksum.holds
    assert checksum.size == len(GOOD)
    assert checksum.whole == hashlib.sha256(GOOD).hexdigest()
    assert checksum.appended == GOOD[-32:].hex()


@given(st.integers(0, len(GOOD) - 1))
def test_a_single_wrong_byte_is_seen_wherever_it_is(place: int) -> None:
    wrong = bytearray(GOOD)
    wrong[place] ^= 1
    assert not fed(bytes(wrong)).holds


@pytest.mark.parametrize("size", [0, 1, 31, 32, 512, 1024, len(GOOD) - 1, len(GOOD) - 512])
def test_a_file_that_is_cut_short_does_not_hold(size: int) -> None:
    assert not fed(GOOD[:size]).holds


def test_a_file_without_a_checksum_is_told_from_one_whose_checksum_is_wrong() -> None:
    assert not fed(CONTENT).is_there
    assert fed(CONTENT, b"x" * 32).is_there


@pytest.mark.parametrize(
    ("df", "free"),
    [
        (
            "Filesystem     1024-blocks     Used Available Capacity Mounted on\n"
            "/dev/vda         264115264 13189104  82384580      14% /snapshot\n",
            82384580 * 1024,
        ),
        (
            "Filesystem           1024-blocks    Used Available Capacity Mounted on\n"
            "/dev/mapper/a very long name-that once made df break the line 100 100 0 100% /snapshot",
            0,
        ),
        ("Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 0 0 7 - /snapshot\n", 7 * 1024),
    ],
)
def test_the_available_blocks_are_read(df: str, free: int) -> None:
    assert free_bytes(df) == free


@pytest.mark.parametrize("df", ["", "df: /snapshot: No such file or directory\n"])
def test_what_is_not_from_df_is_no_number(df: str) -> None:
    with pytest.raises(ValueError, match="not what df"):
        free_bytes(df)


def test_the_status_of_3_5_and_of_3_6_is_read() -> None:
    status = parse_snapshot_status('{"hash":7,"revision":4,"totalKey":9,"totalSize":20480,"version":"3.6.0"}')
    assert (status.hash, status.revision, status.total_keys) == (7, 4, 9)


def test_a_database_grows_while_it_is_saved() -> None:
    assert room_for(0) > 0
    assert room_for(8 * 2**30) > 8 * 2**30 * 1.05


def test_nothing_stands_against_a_directory_that_is_there(tmp_path: Path) -> None:
    assert worker_side(Settings(snapshot_dir=tmp_path), 0) == ""
    assert worker_side(Settings(), 2**60) == "", "none is to be kept"


def test_a_directory_that_is_not_there_or_has_no_room_is_named(tmp_path: Path) -> None:
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.touch()
    assert f"{missing} is no directory" in worker_side(Settings(snapshot_dir=missing), 0)
    assert f"{file} is no directory" in worker_side(Settings(snapshot_dir=file), 0)
    against = worker_side(Settings(snapshot_dir=tmp_path), 2**60)
    assert f"{tmp_path} on " in against
    assert f"wants {room_for(2**60) / 2**20:.1f} MiB" in against


def test_a_directory_that_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the system, since a read-only mount looks writable by its mode; root may write anywhere here."""
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    assert "may not be written" in worker_side(Settings(snapshot_dir=tmp_path), 0)


def test_only_what_is_kept_stays_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = folder_for(tmp_path, "user-cluster-1", "12345678")
    with SnapshotOnWorker(folder / "a-12345678-kube-etcd-0.db") as dropped:
        dropped.write(GOOD)
        assert [path.name for path in folder.iterdir()] == ["a-12345678-kube-etcd-0.db.part"]
    assert list(folder.iterdir()) == []

    with SnapshotOnWorker(folder / "a-12345678-kube-etcd-0.db") as kept:
        kept.write(GOOD)
        kept.keep("{}")
    assert kept.path.read_bytes() == GOOD
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "a-12345678-kube-etcd-0.db": 0o600,
        "a-12345678-kube-etcd-0.json": 0o600,
    }
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_snapshot_never_takes_the_place_of_another(tmp_path: Path) -> None:
    with SnapshotOnWorker(tmp_path / "a.db") as first, pytest.raises(FileExistsError):
        SnapshotOnWorker(tmp_path / "a.db").__enter__()
    assert not first.path.exists()


def test_what_this_runs_earlier_attempts_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = folder_for(tmp_path, "u", "12345678")
    names = ["1-12345678-a.db.part", "1-12345678-a.db", "1-87654321-a.db.part"]
    for name in names:
        (folder / name).touch()
    folder_for(tmp_path, "u", "12345678")
    assert sorted(path.name for path in folder.iterdir()) == sorted(names[1:])
