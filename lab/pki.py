"""Certificates for a throw-away admin cluster and for the etcd of a user cluster, by trustme.

In Kubernetes the client certificate is the identity: the common name is the user, the organization the group.
etcd checks peers by their certificate's names, so its certificate carries the runbook's names and no pod
address.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme

ETCD_CA_FILE, ETCD_CERTIFICATE_FILE, ETCD_KEY_FILE = "etcdCA.crt", "etcd.crt", "etcd.key"
LOOPBACK = ("127.0.0.1", "localhost")
LIFETIME = datetime.timedelta(days=30)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, as PEM files on disk."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that writes what it issues below one directory, readable by its owner only."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self._authority = trustme.CA(organization_name=name)
        self.certificate = directory / "ca.crt"
        self._authority.cert_pem.write_to_path(self.certificate)

    def issue(
        self,
        file_name: str,
        *names: str,
        user: str | None = None,
        group: str | None = None,
        lifetime: datetime.timedelta = LIFETIME,
    ) -> KeyPair:
        """Issue a certificate for these DNS names and addresses, or for a user in a group, or for both."""
        leaf = self._authority.issue_cert(
            *(names or (file_name,)),  # an empty list is refused by Go as an unhandled critical extension
            common_name=user or file_name,
            organization_name=group or "lab",
            not_after=datetime.datetime.now(datetime.UTC) + lifetime,
        )
        pair = KeyPair(self.directory / f"{file_name}.crt", self.directory / f"{file_name}.key")
        leaf.cert_chain_pems[0].write_to_path(pair.certificate)
        pair.key.touch(mode=0o600)
        leaf.private_key_pem.write_to_path(pair.key)
        return pair


class AdminPki:
    """The admin cluster's certificates: one authority for servers and clients, as small clusters have it."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory, "admin-cluster-ca")
        self.ca = self.authority.certificate
        self.api_server = self.authority.issue("apiserver", *LOOPBACK, "kubernetes", "kubernetes.default.svc")
        self.admin = self.client("admin", group="system:masters")
        self.controller_manager = self.client("controller-manager", group="system:masters")
        self.scheduler = self.client("scheduler", user="system:kube-scheduler")
        self.kubelet_client = self.client(
            "kubelet-client", user="kube-apiserver-kubelet-client", group="system:masters"
        )
        self.service_account = self.authority.issue("service-account", user="service-account")

    def client(
        self,
        file_name: str,
        *,
        user: str | None = None,
        group: str | None = None,
        lifetime: datetime.timedelta = LIFETIME,
    ) -> KeyPair:
        """Issue a client certificate; the user is the file's name unless it is given."""
        return self.authority.issue(file_name, user=user or file_name, group=group, lifetime=lifetime)

    def node(self, name: str, *addresses: str) -> KeyPair:
        """Issue what a node agent serves exec with, and what it is known by to the API server."""
        return self.authority.issue(
            name, name, *LOOPBACK, *addresses, user=f"system:node:{name}", group="system:nodes"
        )


class EtcdPki:
    """The etcd certificates of one user cluster, under the file names that the runbook's commands use."""

    def __init__(self, directory: Path, members: tuple[str, ...], service: str = "kube-etcd") -> None:
        domain = f"{service}.user-cluster-1.svc.cluster.local"
        names = [name for member in members for name in (member, f"{member}.{service}", f"{member}.{domain}")]
        authority = Authority(directory, "user-cluster-etcd-ca")
        pair = authority.issue("etcd", *LOOPBACK, service, *names)
        self.files: dict[str, bytes] = {
            ETCD_CA_FILE: authority.certificate.read_bytes(),
            ETCD_CERTIFICATE_FILE: pair.certificate.read_bytes(),
            ETCD_KEY_FILE: pair.key.read_bytes(),
        }
        (directory / ETCD_CA_FILE).write_bytes(self.files[ETCD_CA_FILE])
        self.ca = directory / ETCD_CA_FILE
        self.client = pair
