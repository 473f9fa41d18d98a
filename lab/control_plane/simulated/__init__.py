"""A Kubernetes API server with the controllers that the operation meets, in one small process of our own.

This module starts it as a process, so that it can be killed and paused like a real one; the server is in
`__main__`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from lab.control_plane.serving import LOOPBACK, reserve_port, until_ready
from lab.kubeconfig import write_kubeconfig
from lab.pki import AdminPki
from lab.processes import Component

READY_WITHIN = 20.0
NODE_GRACE = 50.0  # the real controller's default


class SimulatedControlPlane:
    """Plays kube-apiserver, kube-controller-manager and kube-scheduler; a journal outlives the process."""

    def __init__(
        self,
        directory: Path,
        pki: AdminPki,
        *,
        port: int | None = None,
        audit_log: Path | None = None,
        node_grace: float = NODE_GRACE,
    ) -> None:
        """Serve on 127.0.0.1:PORT, a free one if none is given."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.kubeconfig = directory / "admin.kubeconfig"
        self.version = "simulated"
        self._pki = pki
        self._reserved = reserve_port(port)
        self.url = f"https://{LOOPBACK}:{self._reserved.getsockname()[1]}"
        command = self._command(audit_log, node_grace)
        self._component = Component("kube-apiserver", command, directory=directory)

    @property
    def components(self) -> Mapping[str, Component]:
        """The one process, under the name of the one that a fault would be for."""
        return {"kube-apiserver": self._component}

    async def start(self) -> None:
        """Start the process and wait until it answers."""
        write_kubeconfig(self.kubeconfig, server=self.url, ca=self._pki.ca, client=self._pki.admin)
        await self._component.start()
        try:
            await self.until_ready()
        except BaseException:
            await self.stop()
            raise

    async def until_ready(self) -> None:
        """Wait until it answers, at the start or after it was started again."""
        await until_ready(self.kubeconfig, self._component, READY_WITHIN)

    async def stop(self) -> None:
        """End the process."""
        await self._component.kill()
        self._reserved.close()

    def _command(self, audit_log: Path | None, node_grace: float) -> list[str | Path]:
        pki = self._pki
        options: dict[str, object] = {
            "certificate": pki.api_server.certificate,
            "key": pki.api_server.key,
            "ca": pki.ca,
            "kubelet-certificate": pki.kubelet_client.certificate,
            "kubelet-key": pki.kubelet_client.key,
            "port": self._reserved.getsockname()[1],
            "node-grace": node_grace,
            "journal": self.directory / "journal",
        }
        if audit_log is not None:
            options["audit-log"] = audit_log
        return [sys.executable, "-m", __name__, *(f"--{name}={value}" for name, value in options.items())]
