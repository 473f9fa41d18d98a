"""How the demo, the tests and the commands talk to a running lab: its control socket as typed methods."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp

from lab.layout import Layout
from lab.models import Evidence, Fault, LabReport, LabStatus, Member, TrafficReport

TIMEOUT = aiohttp.ClientTimeout(total=120)


class LabError(Exception):
    """The lab could not be started, could not be reached, or refused; one sentence for people."""


class LabClient:
    """A running lab.

    - `kubeconfig`: Path of a kubeconfig (client certificate, group system:masters) for kubectl and the worker
    - `await status()`: LabStatus: versions, members, leader, pods, nodes, agents
    - `await start_traffic(writers=1)`, `await stop_traffic() -> TrafficReport`: acknowledged, longest gap
    - `await destroy("kube-etcd-1" | "leader", fault) -> str`: breaks a member, returns its name when it took effect
    - `await report() -> LabReport`: the judgement; lost writes, restarts of survivors, seconds without PDB, state
      of PDB, flag, strategy and nodes, members
    - `await set_agent("node-2", running=False)`: the kubelet dies, its pods run on; `frozen=True`: it hangs
    - `await set_link("kube-etcd-1", up=False)`: a network partition around one pod
    - `await set_partition("kube-etcd-0", "kube-etcd-1", cut=True)`: these two do not reach each other
    - `await signal_member("kube-etcd-1", "kill" | "term" | "stop" | "cont")`
    - `await control_plane("kill" | "pause" | "resume" | "start")`: the API server
    - `await evidence()`: what a judge of one's own needs
    """

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory)
        self._session: aiohttp.ClientSession | None = None
        self._folder: int | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the lab goes on."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    async def status(self) -> LabStatus:
        """The lab at a glance."""
        return LabStatus.model_validate(await self._call("GET", "status"))

    async def report(self) -> LabReport:
        """The judgement of what happened since the lab was whole."""
        return LabReport.model_validate(await self._call("GET", "report"))

    async def evidence(self) -> Evidence:
        """What a judge of one's own needs; stop the writers first."""
        return Evidence.model_validate(await self._call("GET", "evidence"))

    async def members(self) -> list[Member]:
        """The member list as it is now; empty while there is no quorum. It needs no API server."""
        return [Member.model_validate(item) for item in (await self._call("GET", "members"))["members"]]

    async def destroy(self, replica: str, fault: Fault) -> str:
        """Break a member, or the `leader`; returns its name when the fault has taken effect."""
        answer = await self._call("POST", "faults", {"replica": replica, "fault": fault})
        return str(answer["replica"])

    async def start_traffic(self, writers: int = 1) -> None:
        """Write to etcd without a pause."""
        await self._call("POST", "traffic/start", {"writers": writers})

    async def stop_traffic(self) -> TrafficReport:
        """Stop the writers and say what they saw."""
        return TrafficReport.model_validate(await self._call("POST", "traffic/stop", {}))

    async def set_agent(self, node: str, *, running: bool, frozen: bool = False) -> None:
        """Stop, freeze or start a node's agent; its pods stay as they are."""
        await self._call("POST", f"nodes/{node}/agent", {"running": running, "frozen": frozen})

    async def set_link(self, pod: str, *, up: bool, namespace: str = "user-cluster-1") -> None:
        """Cut a pod off the network, or connect it again."""
        await self._call("POST", f"pods/{namespace}/{pod}/link", {"up": up})

    async def set_partition(
        self, one: str, other: str, *, cut: bool, namespace: str = "user-cluster-1"
    ) -> None:
        """Cut two pods off from each other only; without `cut` both reach everybody again."""
        body = {"between": [one, other], "cut": cut, "namespace": namespace}
        await self._call("POST", "partition", body)

    async def control_plane(
        self, action: Literal["kill", "pause", "resume", "start"], component: str = "kube-apiserver"
    ) -> None:
        """Kill, freeze or start a process of the control plane."""
        await self._call("POST", f"components/{component}", {"action": action})

    async def signal_member(self, replica: str, name: str) -> None:
        """Signal a member's process: kill, term, stop or cont."""
        await self._call("POST", f"members/{replica}/signal", {"signal": name})

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            async with self._connected().request(method, f"http://lab/{path}", json=body) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LabError(f"no lab answers in {self.layout.directory}: {error}") from error
        if response.status != 200:
            raise LabError(str(answer.get("error", answer)))
        return answer

    def _connected(self) -> aiohttp.ClientSession:
        """The session; the socket is named relative to its folder, as a Unix socket's path may be short only."""
        if self._session is None:
            self._folder = os.open(self.layout.directory, os.O_PATH | os.O_DIRECTORY)
            path = f"/proc/self/fd/{self._folder}/{self.layout.control_socket.name}"
            connector = aiohttp.UnixConnector(path=path)
            self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        return self._session
