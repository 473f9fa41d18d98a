"""A Kubernetes API server with the controllers that the operation meets, in one small process of our own.

This module starts it as a process, so that it can be killed and paused like a real one; the server is in
`__main__`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp

from lab.control_plane import ControlPlaneFailed
from lab.kube_client import ApiError, KubeClient
from lab.kubeconfig import write_kubeconfig
from lab.pki import AdminPki
from lab.processes import Component

READY_WITHIN = 20.0


class SimulatedControlPlane:
    """Plays kube-apiserver, kube-controller-manager and kube-scheduler; its state lives in memory."""

    def __init__(
        self,
        directory: Path,
        pki: AdminPki,
        *,
        port: int | None = None,
        listeners: Sequence[socket.socket] = (),
        audit_log: Path | None = None,
        node_grace: float = 50.0,
    ) -> None:
        """Serve on 127.0.0.1:PORT (a free one if none is given) and on further listening sockets."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.kubeconfig = directory / "admin.kubeconfig"
        self.version = "simulated"
        self.components: dict[str, Component] = {}
        self._pki = pki
        self._audit_log = audit_log
        self._node_grace = node_grace
        self._own = socket.create_server(("127.0.0.1", port or 0))
        self._listeners = [self._own, *listeners]
        self.url = f"https://127.0.0.1:{self._own.getsockname()[1]}"

    async def start(self) -> None:
        """Start the process and wait until it answers."""
        write_kubeconfig(self.kubeconfig, server=self.url, ca=self._pki.ca, client=self._pki.admin)
        descriptors = [listener.fileno() for listener in self._listeners]
        component = Component(
            "kube-apiserver", self._command(descriptors), directory=self.directory, pass_fds=descriptors
        )
        self.components["kube-apiserver"] = component
        await component.start()
        try:
            async with asyncio.timeout(READY_WITHIN), KubeClient.from_kubeconfig(self.kubeconfig) as client:
                await _ready(client, component)
        except TimeoutError:
            await component.kill()
            words = component.last_words()
            raise ControlPlaneFailed(f"the simulated API server did not answer in time:\n{words}") from None

    async def stop(self) -> None:
        """End the process and close the socket that this object opened."""
        for component in self.components.values():
            await component.kill()
        self._own.close()

    def _command(self, descriptors: Sequence[int]) -> list[str | Path]:
        pki = self._pki
        command: list[str | Path] = [sys.executable, "-m", __name__]
        command += ["--certificate", pki.api_server.certificate, "--key", pki.api_server.key, "--ca", pki.ca]
        command += [
            "--kubelet-certificate",
            pki.kubelet_client.certificate,
            "--kubelet-key",
            pki.kubelet_client.key,
        ]
        command += ["--node-grace", str(self._node_grace)]
        for descriptor in descriptors:
            command += ["--fd", str(descriptor)]
        if self._audit_log is not None:
            command += ["--audit-log", self._audit_log]
        return command


async def _ready(client: KubeClient, component: Component) -> None:
    while True:
        if not component.running:
            raise ControlPlaneFailed(f"the simulated API server ended:\n{component.last_words(20)}")
        with suppress(ApiError, aiohttp.ClientError):
            await client.request("GET", "/readyz")
            return
        await asyncio.sleep(0.02)
