"""The demo as people run it: a command that judges itself, and that leaves nothing behind however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import REAL

WITHIN = 240.0
LAST_STEP = "delete_replacement_record"


class Demo:
    """One run of the command; its folder for temporary files is its own, which marks every process of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out: list[str] = []
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *words: str) -> None:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "replace_etcd.cli",
            "demo",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(self.directory), "PYTHONUNBUFFERED": "1"},
        )

    async def until(self, says: str) -> None:
        """Wait until it says something."""
        async with asyncio.timeout(WITHIN):
            await self._read(lambda line: says in line)
        assert says in self.out[-1], self.text

    async def end(self) -> int:
        """Wait until it has ended."""
        assert self._process is not None
        async with asyncio.timeout(WITHIN):
            await self._read(lambda _: False)
            return await self._process.wait()

    async def interrupt(self) -> int:
        """Press Ctrl-C and wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return await self.end()

    async def kill(self) -> None:
        """End it in the hardest way and wait until its processes have followed."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        async with asyncio.timeout(30):
            while True:
                if not self.processes():
                    return
                await asyncio.sleep(0.1)

    def processes(self) -> list[str]:
        """What runs of it, other than itself."""
        return [command for pid, command in _running(str(self.directory)) if pid != self._pid]

    @property
    def text(self) -> str:
        """Everything it has said."""
        return "".join(self.out)

    @property
    def _pid(self) -> int:
        return self._process.pid if self._process else 0

    async def _read(self, enough: Callable[[str], bool]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.out.append(line.decode())
            if enough(self.out[-1]):
                return


def _running(mark: str) -> list[tuple[int, str]]:
    """Processes whose command or environment carries the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
            except OSError:  # it has ended meanwhile, or is somebody else's
                continue
            if mark.encode() in command + environment:
                found.append((int(entry.name), command.replace(b"\0", b" ").decode(errors="replace")))
    return found


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    """A demo that ends with the test; its folder is short of name, since sockets lie in it (108 bytes at most)."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        running = Demo(Path(folder))
        yield running
        if running.processes():
            await running.kill()


def leaves_nothing(demo: Demo) -> None:
    """No process of it is left, and no file."""
    assert demo.processes() == []
    assert list(demo.directory.iterdir()) == []


def exports(demo: Demo) -> dict[str, str]:
    """The variables that it told people to set."""
    words = [line.split() for line in demo.out if line.split()[:1] == ["export"]]
    return dict(variable.split("=", 1) for _, variable in words)


def holds(report: dict[str, Any]) -> None:
    """What the exit code 0 promises, read from the report by itself."""
    assert report["outcome"] == "replaced"
    assert report["workflow_id"] == "replace-etcd.user-cluster-1"
    assert (report["lost_writes"], report["survivor_restarts"]) == (0, 0)
    assert report["acknowledged_writes"] > 100
    assert report["pdb_restored"] is True
    assert report["seconds_without_pdb"] > 0
    assert (report["initial_cluster_state"], report["update_strategy"]) == ("new", "RollingUpdate")
    assert report["node_schedulable"] is True
    assert [(member["started"], member["learner"]) for member in report["members"]] == [(True, False)] * 3
    assert report["steps"][0]["name"] == "preflight"
    assert report["steps"][-1]["name"] == LAST_STEP


@pytest.mark.parametrize(
    "kubernetes", ["simulated", pytest.param("real", marks=[*REAL.marks, pytest.mark.needs("time")])]
)
async def test_the_demo_replaces_the_member_and_reports(
    demo: Demo, tmp_path_factory: pytest.TempPathFactory, kubernetes: str
) -> None:
    file = tmp_path_factory.mktemp("report") / "report.json"
    await demo.start("--kubernetes", kubernetes, "--json", str(file))
    assert await demo.end() == 0, demo.text
    report = json.loads(file.read_text())
    holds(report)
    assert (report["kubernetes"] == "simulated") == (kubernetes == "simulated")
    assert "Web UI: http://127.0.0.1:" in demo.text
    assert f"done   {LAST_STEP}" in demo.text
    assert "Replaced; no write lost" in demo.text
    leaves_nothing(demo)


@pytest.mark.parametrize("moment", ["Temporal answers", "three nodes are registered", "done   cordon_node"])
async def test_ctrl_c_leaves_nothing_behind(demo: Demo, moment: str) -> None:
    await demo.start()
    await demo.until(moment)
    assert await demo.interrupt() == 130
    assert "interrupted; taking everything down" in demo.text
    assert "Traceback" not in demo.text
    leaves_nothing(demo)


async def test_a_demo_that_is_killed_takes_its_processes_along(demo: Demo) -> None:
    await demo.start()
    await demo.until("done   cordon_node")
    assert len(demo.processes()) > 3
    await demo.kill()
    assert demo.processes() == []


async def test_it_can_be_looked_at_until_ctrl_c(demo: Demo) -> None:
    await demo.start(
        "--keep", "--drain", "replica", "--pdb", "keep", "--fault", "wipe", "--replica", "leader"
    )
    await demo.until("tail -f ")
    said = exports(demo)
    assert said["KUBECONFIG"] in (str(path) for path in demo.directory.rglob("kubeconfig"))
    assert said["TEMPORAL_ADDRESS"].startswith("127.0.0.1:")
    assert await demo.interrupt() == 130
    assert "Replaced; no write lost" in demo.text
    leaves_nothing(demo)


async def test_a_worker_that_dies_is_named_with_its_last_words(demo: Demo) -> None:
    await demo.start()
    await demo.until("done   cordon_node")
    (worker,) = [pid for pid, command in _running(str(demo.directory)) if "worker.py" in command]
    os.kill(worker, signal.SIGKILL)
    assert await demo.end() == 1
    _, _, last_words = demo.text.partition("the worker has ended; it said last:")
    assert '"activity": ' in last_words
    leaves_nothing(demo)


async def test_a_lab_that_cannot_start_is_one_sentence(
    demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    await demo.start("--etcd", str(empty))
    assert await demo.end() == 2
    assert f"replace-etcd: the lab did not start: {empty} holds no etcd and no etcdctl" in demo.text
    assert "Traceback" not in demo.text
    leaves_nothing(demo)
