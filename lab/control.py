"""The lab's control socket: what may be done to a running lab, as a small HTTP API over a Unix socket.

GET /status, /report, /evidence, /members; POST /faults, /traffic/start, /traffic/stop, /nodes/NAME/agent,
/pods/NAMESPACE/NAME/link, /partition, /members/NAME/signal, /components/NAME. Every body and answer is JSON; an error
is `{"error": "one sentence"}`.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ValidationError

from lab.admin_cluster import AdminCluster
from lab.fixture.names import NAMESPACE
from lab.models import Fault
from lab.nodes.cluster import UnknownPod

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT, "term": signal.SIGTERM}


class FaultRequest(BaseModel):
    """Which replica to break, and how."""

    replica: str
    fault: Fault


class TrafficRequest(BaseModel):
    """How many writers."""

    writers: int = 1


class AgentRequest(BaseModel):
    """Whether the node's agent should run; if not, whether it hangs instead of being gone."""

    running: bool
    frozen: bool = False


class LinkRequest(BaseModel):
    """Whether the pod should be connected to the network."""

    up: bool


class PartitionRequest(BaseModel):
    """Two pods, and whether they reach each other."""

    between: tuple[str, str]
    cut: bool
    namespace: str = NAMESPACE


class SignalRequest(BaseModel):
    """kill, term, stop or cont."""

    signal: str


class ComponentRequest(BaseModel):
    """What to do with a process of the control plane; `start` returns when the API server answers, if that runs."""

    action: Literal["kill", "pause", "resume", "start"]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def errors_as_sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whoever asks for something that is not there learns what is."""
    try:
        return await handler(request)
    except (LookupError, UnknownPod) as error:
        return web.json_response({"error": str(error)}, status=404)
    except (ValidationError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=400)


class ControlApi:
    """Serves one lab."""

    def __init__(self, cluster: AdminCluster) -> None:
        self._cluster = cluster
        self._runner: web.AppRunner | None = None

    async def start(self, path: Path) -> None:
        """Listen on the socket."""
        application = web.Application(middlewares=[errors_as_sentences])
        application.add_routes(
            [
                web.get("/status", self._status),
                web.get("/report", self._report),
                web.get("/evidence", self._evidence),
                web.get("/members", self._members),
                web.post("/faults", self._fault),
                web.post("/traffic/start", self._start_traffic),
                web.post("/traffic/stop", self._stop_traffic),
                web.post("/nodes/{name}/agent", self._agent),
                web.post("/pods/{namespace}/{name}/link", self._link),
                web.post("/partition", self._partition),
                web.post("/members/{name}/signal", self._signal),
                web.post("/components/{name}", self._component),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(path)).start()

    async def stop(self) -> None:
        """Stop listening; the socket's file goes with it."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, _: web.Request) -> web.Response:
        return _answer(await self._cluster.status())

    async def _report(self, _: web.Request) -> web.Response:
        return _answer(await self._cluster.report())

    async def _evidence(self, _: web.Request) -> web.Response:
        return _answer(await self._cluster.evidence())

    async def _members(self, _: web.Request) -> web.Response:
        members = await self._cluster.members()
        return web.json_response({"members": [member.model_dump() for member in members]})

    async def _fault(self, request: web.Request) -> web.Response:
        wanted = FaultRequest.model_validate_json(await request.text())
        return web.json_response({"replica": await self._cluster.destroy(wanted.replica, wanted.fault)})

    async def _start_traffic(self, request: web.Request) -> web.Response:
        wanted = TrafficRequest.model_validate_json(await request.text() or "{}")
        self._cluster.workload.start(wanted.writers)
        return web.json_response({})

    async def _stop_traffic(self, _: web.Request) -> web.Response:
        return _answer(await self._cluster.workload.stop())

    async def _agent(self, request: web.Request) -> web.Response:
        wanted = AgentRequest.model_validate_json(await request.text())
        agent = self._cluster.nodes.agent(request.match_info["name"])
        if wanted.running:
            await agent.start()
        else:
            await (agent.freeze() if wanted.frozen else agent.stop())
        return web.json_response({})

    async def _link(self, request: web.Request) -> web.Response:
        wanted = LinkRequest.model_validate_json(await request.text())
        names = request.match_info
        runtime, record = self._cluster.nodes.find(names["namespace"], names["name"])
        await runtime.set_link(record, up=wanted.up)
        return web.json_response({})

    async def _partition(self, request: web.Request) -> web.Response:
        wanted = PartitionRequest.model_validate_json(await request.text())
        await self._cluster.nodes.partition(wanted.namespace, *wanted.between, cut=wanted.cut)
        return web.json_response({})

    async def _component(self, request: web.Request) -> web.Response:
        wanted = ComponentRequest.model_validate_json(await request.text())
        component = self._cluster.control_plane.components[request.match_info["name"]]
        match wanted.action:
            case "kill":
                await component.kill()
            case "pause":
                component.pause()
            case "resume":
                component.resume()
            case "start":
                await component.start()
                if self._cluster.control_plane.components["kube-apiserver"].running:
                    await self._cluster.control_plane.until_ready()
        return web.json_response({})

    async def _signal(self, request: web.Request) -> web.Response:
        wanted = SignalRequest.model_validate_json(await request.text())
        for process in self._cluster.faults.processes(request.match_info["name"]):
            process.signal(SIGNALS[wanted.signal])
        return web.json_response({})


def _answer(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")
