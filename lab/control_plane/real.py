"""The real kube-apiserver, kube-controller-manager and kube-scheduler on a single etcd of their own.

There is no kubelet: the lab's node agents play it. Only the controllers that matter to the operation run.
etcd speaks over Unix sockets in the control plane's directory, so that nobody else reaches it and no port can
be taken. The flags are explained in docs/lab.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.binaries import control_plane_etcd, control_plane_folder
from lab.control_plane.serving import LOOPBACK, reserve_port, until_ready
from lab.kubeconfig import write_kubeconfig
from lab.pki import AdminPki
from lab.processes import Component

CONTROLLERS = (
    "statefulset-controller,disruption-controller,node-lifecycle-controller,taint-eviction-controller,"
    "garbage-collector-controller,namespace-controller,persistentvolume-binder-controller,"
    "persistentvolumeclaim-protection-controller,persistentvolume-protection-controller"
)
READY_WITHIN = 60.0
ETCD_CLIENT_SOCKET = (
    "unix://etcd.sock:0"  # etcd 3.5.1 accepts this form only; relative to the working directory
)
AUDIT_POLICY = (
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
    "- level: Metadata\n  verbs: [get, list, watch]\n- level: Request\n"
)


class RealControlPlane:
    """Kubernetes from KUBEBUILDER_ASSETS; ready in about three seconds on two cores."""

    def __init__(
        self,
        directory: Path,
        pki: AdminPki,
        *,
        assets: Path | None = None,
        etcd: Path | None = None,
        port: int | None = None,
        audit_log: Path | None = None,
        controller_options: tuple[str, ...] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.kubeconfig = directory / "admin.kubeconfig"
        self.version = ""
        self._reserved = reserve_port(port)
        self.url = f"https://{LOOPBACK}:{self._reserved.getsockname()[1]}"
        self.components: dict[str, Component] = {}
        self._pki = pki
        self._folder = control_plane_folder(assets)
        self._etcd = etcd or control_plane_etcd(assets)
        self._audit_log = audit_log
        self._controller_options = controller_options

    async def start(self) -> None:
        """Start etcd, then the API server; when it is ready, its controllers and the scheduler."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        write_kubeconfig(self.kubeconfig, server=self.url, ca=self._pki.ca, client=self._pki.admin)
        await self._add("etcd", self._etcd, self._etcd_flags()).start()
        await self._add("kube-apiserver", self._folder / "kube-apiserver", self._api_server_flags()).start()
        await self.until_ready()
        for name, flags in self._controller_flags().items():
            await self._add(name, self._folder / name, flags).start()

    async def until_ready(self) -> None:
        """Wait until the API server answers, at the start or after it was started again."""
        self.version = await until_ready(self.kubeconfig, self.components["kube-apiserver"], READY_WITHIN)

    async def stop(self) -> None:
        """End all of it: the API server is not asked, it would take seconds to drain its connections."""
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            if component := self.components.get(name):
                await component.kill()
        self._reserved.close()

    def _add(self, name: str, program: Path, flags: Mapping[str, object]) -> Component:
        argv: list[str | Path] = [program, *(f"--{flag}={value}" for flag, value in flags.items())]
        if name == "kube-controller-manager":
            argv += self._controller_options
        component = Component(name, argv, directory=self.directory)
        self.components[name] = component
        return component

    def _etcd_flags(self) -> dict[str, object]:
        return {
            "data-dir": "etcd",
            "unsafe-no-fsync": "true",
            "listen-client-urls": ETCD_CLIENT_SOCKET,
            "advertise-client-urls": "http://localhost:2379",  # demanded, never dialled
            "listen-peer-urls": "unix://etcd-peer.sock:0",
        }

    def _api_server_flags(self) -> dict[str, object]:
        pki = self._pki
        flags: dict[str, object] = {
            "etcd-servers": ETCD_CLIENT_SOCKET,
            "bind-address": LOOPBACK,
            "secure-port": self._reserved.getsockname()[1],
            "permit-port-sharing": "true",
            "tls-cert-file": pki.api_server.certificate,
            "tls-private-key-file": pki.api_server.key,
            "client-ca-file": pki.ca,
            "anonymous-auth": "false",
            "kubelet-client-certificate": pki.kubelet_client.certificate,
            "kubelet-client-key": pki.kubelet_client.key,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-signing-key-file": pki.service_account.key,
            "service-account-key-file": pki.service_account.certificate,
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.96.0.0/16",
            "disable-admission-plugins": "ServiceAccount",
            "feature-gates": "TranslateStreamCloseWebsocketRequests=false",
        }
        return flags | self._audit_flags()

    def _audit_flags(self) -> dict[str, object]:
        """Log every request to a file, if asked, changes with their bodies: what the operation really sent."""
        if self._audit_log is None:
            return {}
        policy = self.directory / "audit-policy.yaml"
        policy.write_text(AUDIT_POLICY)
        return {"audit-log-path": self._audit_log, "audit-policy-file": policy}

    def _controller_flags(self) -> dict[str, dict[str, object]]:
        pki = self._pki
        as_manager = self.directory / "controller-manager.kubeconfig"
        as_scheduler = self.directory / "scheduler.kubeconfig"
        write_kubeconfig(as_manager, server=self.url, ca=pki.ca, client=pki.controller_manager)
        write_kubeconfig(as_scheduler, server=self.url, ca=pki.ca, client=pki.scheduler)
        common: dict[str, object] = {"leader-elect": "false", "secure-port": 0}
        common |= {"kube-api-qps": 500, "kube-api-burst": 1000}  # the defaults slow a busy test run down
        manager: dict[str, object] = {
            "kubeconfig": as_manager,
            "authentication-kubeconfig": as_manager,
            "authorization-kubeconfig": as_manager,
            "service-account-private-key-file": pki.service_account.key,
            "root-ca-file": pki.ca,
            "controllers": CONTROLLERS,
            "pvclaimbinder-sync-period": "1s",  # a volume that comes after its claim waits for it, 15 s by default
        }
        return {
            "kube-controller-manager": manager | common,
            "kube-scheduler": {"kubeconfig": as_scheduler} | common,
        }
