"""The floor: nothing but etcd's own operations, in a loop, on the loopback, with TLS and a writer.

Three processes have an address of 127.0.0.0/8 each, so that all can use etcd's usual ports.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from benchmarks.models import Span, Walk
from lab.binaries import etcd_folder
from lab.etcd_gateway import EtcdGateway, NotSent, Refused, Unreachable
from lab.fixture.names import CLIENT_PORT, PEER_PORT, REPLICAS
from lab.pki import EtcdPki
from lab.processes import Component
from lab.workload import Workload

READY_WITHIN = 60.0
LOOK_EVERY = 0.05
CONNECTED = 6.0
"""So long must peers have been connected before etcd takes a new member: its HealthInterval is no operation."""


class Members:
    """Three etcd processes."""

    def __init__(self, folder: Path | None, directory: Path) -> None:
        network = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"  # noqa: S311 - no secret
        self.addresses = {name: f"{network}.{number}" for number, name in enumerate(REPLICAS, start=1)}
        self._pki = EtcdPki(directory / "pki", (*REPLICAS, *self.addresses.values()))
        self._binaries = etcd_folder(folder)
        self._directory = directory
        self._processes: dict[str, Component] = {}
        self.gateway = EtcdGateway(self._pki, self.addresses.__getitem__)

    async def start(self, name: str, state: str) -> None:
        """Start one, with its flag."""
        own, pki = self.addresses[name], self._pki
        initial = ",".join(f"{n}=https://{a}:{PEER_PORT}" for n, a in self.addresses.items())
        flags = {
            "name": name,
            "data-dir": self.data(name),
            "initial-cluster-state": state,
            "initial-cluster": initial,
            "initial-advertise-peer-urls": f"https://{own}:{PEER_PORT}",
            "listen-peer-urls": f"https://{own}:{PEER_PORT}",
            "listen-client-urls": f"https://{own}:{CLIENT_PORT}",
            "advertise-client-urls": f"https://{own}:{CLIENT_PORT}",
            "unsafe-no-fsync": "true",  # as the lab runs it
            "quota-backend-bytes": 8 * 2**30,
        }
        for kind in ("", "peer-"):
            flags |= {f"{kind}client-cert-auth": "true", f"{kind}trusted-ca-file": pki.ca}
            flags |= {f"{kind}cert-file": pki.client.certificate, f"{kind}key-file": pki.client.key}
        words = [f"--{key}={value}" for key, value in flags.items()]
        component = Component(name, [self._binaries / "etcd", *words], directory=self._directory)
        self._processes[name] = component
        await component.start()

    def data(self, name: str) -> Path:
        """A member's data directory."""
        return self._directory / f"{name}.data"

    async def kill(self, name: str) -> None:
        """End one."""
        await self._processes[name].kill()

    async def until_healthy(self, name: str) -> None:
        """Until it has a leader and is no learner."""
        async with asyncio.timeout(READY_WITHIN):
            while True:
                with suppress(NotSent, Refused, Unreachable):
                    status = await self.gateway.status(name)
                    if status.get("leader", "0") != "0" and not status.get("isLearner"):
                        return
                await asyncio.sleep(LOOK_EVERY)

    async def ctl(self, name: str, *words: str) -> tuple[int, str]:
        """Run etcdctl against a member."""
        pki = self._pki
        process = await asyncio.create_subprocess_exec(
            str(self._binaries / "etcdctl"),
            f"--endpoints=https://{self.addresses[name]}:{CLIENT_PORT}",
            f"--cacert={pki.ca}",
            f"--cert={pki.client.certificate}",
            f"--key={pki.client.key}",
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def close(self) -> None:
        """End everything."""
        await self.gateway.close()
        for process in self._processes.values():
            await process.kill()


@asynccontextmanager
async def _members(folder: Path | None, directory: Path) -> AsyncIterator[Members]:
    members = Members(folder, directory)
    try:
        await asyncio.gather(*(members.start(name, "new") for name in REPLICAS))
        for name in REPLICAS:
            await members.until_healthy(name)
        yield members
    finally:
        await members.close()


async def walk(folder: Path | None, directory: Path, failed: str, database_size: int) -> Walk:
    """Kill a member, and replace it by etcd's own operations alone."""
    async with _members(folder, directory) as members:
        workload = Workload(members.gateway, REPLICAS)
        await workload.fill(database_size)
        await members.kill(failed)
        survivor = next(name for name in REPLICAS if name != failed)
        await members.until_healthy(survivor)
        await asyncio.sleep(CONNECTED)
        workload.start()
        etcd = str((await members.gateway.status(survivor))["version"])
        begin = time.time()
        steps = [span async for span in _operations(members, survivor, failed, begin)]
        seconds = round(time.time() - begin, 3)
        report = await workload.stop()
    return Walk(
        way="e",
        etcd=etcd,
        seconds=seconds,
        steps=steps,
        outcome="done",
        write_gap=report.longest_gap_seconds,
        failed_writes=sum(n for name, n in report.not_acknowledged_by.items() if name != failed),
        without_tolerance=[Span(name="no fault tolerated", begin=steps[0].end, end=seconds)],
    )


async def _operations(members: Members, survivor: str, failed: str, begin: float) -> AsyncIterator[Span]:
    """The operations, each with its time."""
    since = 0.0

    def span(name: str) -> Span:
        nonlocal since
        began, since = since, round(time.time() - begin, 3)
        return Span(name=name, begin=began, end=since)

    _, listed = await members.ctl(survivor, "member", "list")
    rows = [[word.strip() for word in line.split(",")] for line in listed.splitlines()]
    removed, _ = await members.ctl(survivor, "member", "remove", next(r[0] for r in rows if r[2] == failed))
    if removed != 0:
        raise RuntimeError(f"{survivor} does not remove {failed}")
    yield span("list and remove")
    peer = f"--peer-urls=https://{members.addresses[failed]}:{PEER_PORT}"
    async with asyncio.timeout(READY_WITHIN):
        while (await members.ctl(survivor, "member", "add", failed, peer))[0] != 0:  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(LOOK_EVERY)
    yield span("add")
    await asyncio.to_thread(shutil.rmtree, members.data(failed))
    yield span("wipe")
    await members.start(failed, "existing")
    await members.until_healthy(failed)
    yield span("start to healthy")
