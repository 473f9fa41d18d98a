"""A lab leaves the host as it found it, however it ends, and two of them do not meet."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from lab.client import LabError
from lab.layout import Layout
from lab.options import LabOptions
from lab.runner import running_lab
from tests.lab.nodes.waiting import until

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("namespaces")]

OWNER = """
import asyncio, sys
from pathlib import Path
from lab.options import LabOptions
from lab.runner import running_lab

async def main():
    async with running_lab(LabOptions(), Path(sys.argv[1])):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def descendants(pid: int) -> set[int]:
    """Every process below this one, by pid, as the host sees them."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found |= {child} | descendants(child)
    return found


def every_process() -> set[int]:
    """The pids that the host knows now."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def mounted(directory: Path) -> bool:
    """Whether the host has a mount there."""
    return str(directory) in Path("/proc/self/mountinfo").read_text()


def host_network() -> tuple[list[str], str]:
    """The host's links and routes."""
    return sorted(os.listdir("/sys/class/net")), Path("/proc/net/route").read_text()


async def test_a_killed_runner_leaves_nothing(tmp_path: Path) -> None:
    """No process, no mount and no file: the lab's first process holds a pipe from the runner."""
    directory = tmp_path / "lab"
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(directory), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    assert await owner.stdout.readline() == b"ready\n"
    processes = descendants(owner.pid)
    assert len(processes) > 20
    owner.send_signal(signal.SIGKILL)
    await owner.wait()

    async def gone() -> bool:
        return not (processes & every_process()) and not os.listdir(directory)

    await until(gone, within=20)
    assert not mounted(directory)


async def test_two_labs_side_by_side_and_the_host_between_them(tmp_path: Path) -> None:
    """Each has a kubeconfig and an etcd of its own; no link and no route of theirs is the host's."""
    before = host_network()
    one, two = tmp_path / "one", tmp_path / "two"
    async with running_lab(LabOptions(), one) as first, running_lab(LabOptions(), two) as second:
        assert host_network() == before
        assert first.kubeconfig.read_text() != second.kubeconfig.read_text()
        await first.destroy("kube-etcd-2", "wipe")
        assert [member.healthy for member in (await second.status()).members] == [True, True, True]
    assert not one.exists()
    assert not two.exists()


async def test_a_lab_in_a_temporary_directory_takes_it_along() -> None:
    """Nobody has to tidy up after a demo."""
    async with running_lab(LabOptions()) as lab:
        directory = lab.layout.directory
        assert lab.kubeconfig.stat().st_mode & 0o077 == 0
    assert not directory.exists()


async def test_a_directory_holds_one_lab_and_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    """A second lab is refused; somebody else's file survives."""
    (tmp_path / "notes.txt").write_text("mine")
    async with running_lab(LabOptions(), tmp_path):
        with pytest.raises(LabError, match="a lab runs in"):
            async with running_lab(LabOptions(), tmp_path):
                pass
    assert os.listdir(tmp_path) == ["notes.txt"]


async def test_what_a_dead_lab_left_is_taken_away(tmp_path: Path) -> None:
    """Runner and supervisor killed at once cannot tidy up; the next lab in that directory does."""
    layout = Layout(tmp_path)
    layout.data.mkdir()
    layout.kubeconfig.write_text("old")
    async with running_lab(LabOptions(), tmp_path) as lab:
        assert lab.kubeconfig.read_text() != "old"
    assert os.listdir(tmp_path) == []


async def test_where_namespaces_are_not_permitted_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names what was refused and the way out; there is no traceback to read."""
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(LabError) as refusal:
        async with running_lab(LabOptions(), tmp_path / "lab"):
            pass
    sentence = str(refusal.value)
    assert "unshare failed: Operation not permitted" in sentence
    assert "run it as root" in sentence
    assert "\n" not in sentence


async def test_a_lab_that_cannot_start_says_why(tmp_path: Path) -> None:
    """An etcd folder without etcd in it."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LabError, match="holds no etcd and no etcdctl"):
        async with running_lab(LabOptions(etcd=empty), tmp_path / "lab"):
            pass
    assert not (tmp_path / "lab").exists()
