"""Writes and reads kubeconfig files with an inline client certificate: one file to hand around."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.pki import KeyPair


def write_kubeconfig(path: Path, *, server: str, ca: Path, client: KeyPair, name: str = "lab") -> Path:
    """Write a kubeconfig with one cluster, one user and one context; only its owner can read it."""
    cluster = {"server": server, "certificate-authority-data": _encoded(ca)}
    user = {"client-certificate-data": _encoded(client.certificate), "client-key-data": _encoded(client.key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(config, file, sort_keys=False)
    return path


@dataclass(frozen=True)
class Access:
    """Where an API server is, and the TLS context that identifies the caller to it."""

    server: str
    context: ssl.SSLContext


def read_kubeconfig(path: Path) -> Access:
    """Read a kubeconfig that `write_kubeconfig` wrote."""
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    cluster = config["clusters"][0]["cluster"]
    user = config["users"][0]["user"]
    context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as file:  # ssl loads a client certificate from a file only
        file.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
        file.flush()
        context.load_cert_chain(file.name)
    return Access(cluster["server"], context)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)
