"""What tests need beyond the locked packages, and how to get it: the only list of it.

A test that needs what this machine lacks is deselected, and one closing line says what is missing, so that a green
run never hides what it left out. `make test` works without any of it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from lab.binaries import MissingBinary, control_plane_folder, etcd_assets
from lab.client import LabError
from lab.runner import isolation


@dataclass(frozen=True)
class Need:
    """Something that may be missing: whether it is there, and what to say if it is not."""

    present: Callable[[], bool]
    missing: str


def _no_control_plane() -> str:
    """Why there is none, in the lab's own sentence; empty where there is one."""
    try:
        control_plane_folder()
    except MissingBinary as error:
        return str(error)
    return ""


def _real_control_plane() -> bool:
    return not _no_control_plane()


def _kubectl() -> bool:
    return _real_control_plane() and (control_plane_folder() / "kubectl").is_file()


def _etcd(series: str) -> Callable[[], bool]:
    return lambda: any(folder.name.startswith(f"{series}.") for folder in etcd_assets())


def _namespaces() -> bool:
    try:
        asyncio.run(isolation())
    except (LabError, MissingBinary):
        return False
    return True


def _docker_compose() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0


NEEDS = {
    "chromium": Need(
        lambda: shutil.which("chromium") is not None, "no Chromium for the Web UI: apt install chromium"
    ),
    "kubernetes": Need(_real_control_plane, _no_control_plane()),
    "kubectl": Need(_kubectl, "no kubectl, or not all of the control plane, in KUBEBUILDER_ASSETS"),
    "etcd-3.4": Need(
        _etcd("3.4"), "no etcd 3.4: set ETCD_ASSETS (Debian's etcd-server and etcd-client have it)"
    ),
    "etcd-3.5": Need(_etcd("3.5"), "no newer etcd 3.5: set ETCD_ASSETS"),
    "etcd-3.6": Need(_etcd("3.6"), "no etcd 3.6: set ETCD_ASSETS"),
    "namespaces": Need(_namespaces, "no namespaces permitted: run as root, or allow user namespaces"),
    "curl": Need(lambda: shutil.which("curl") is not None, "no curl"),
    "docker compose": Need(_docker_compose, "no docker with its compose plugin"),
    "minutes": Need(
        lambda: bool({"REPLACE_ETCD_TEST_CI", "REPLACE_ETCD_TEST_FULL"} & set(os.environ)),
        "minutes that CI takes: REPLACE_ETCD_TEST_CI=1 make test",
    ),
    "time": Need(
        lambda: "REPLACE_ETCD_TEST_FULL" in os.environ, "more time than make test has: make test-full"
    ),
    "root": Need(lambda: os.geteuid() == 0, "not root"),
}
