"""Resolves a pod's volumes to directories, as a kubelet and its volume plug-ins do.

A PersistentVolume is a directory: of its node for `local` and `hostPath` (what is on a node's disk is found there
again, and nowhere else), of the lab for a network disk (`csi`), which moves with its pod. Nothing enforces
ReadWriteOnce between two pods of one node: it does not on a real one either.
"""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

from lab.kube_client import KubeClient
from lab.nodes.environment import expand
from lab.nodes.launcher import Mount
from lab.nodes.records import Json, PodRecord


class NotMountable(Exception):
    """A volume cannot be mounted now: its Secret or claim does not exist, or is not bound. Tried again later."""


class Volumes:
    """The volumes of one node."""

    def __init__(self, client: KubeClient, root: Path, node: str) -> None:
        self._client = client
        self._disk = root / "nodes" / node
        self._network_disks = root / "network-disks"
        self._pods = root / "pods"

    async def mount(self, pod: Json, record: PodRecord) -> dict[str, Path]:
        """Prepare every volume of the pod; return the directory of each by its name."""
        return {item["name"]: await self._prepare(item, record) for item in pod["spec"].get("volumes", [])}

    def unmount(self, record: PodRecord) -> None:
        """Remove what lives only as long as the pod."""
        shutil.rmtree(self._pods / record.uid, ignore_errors=True)

    async def _prepare(self, volume: Json, record: PodRecord) -> Path:
        own: Path = self._pods / record.uid / volume["name"]
        if claim := volume.get("persistentVolumeClaim"):
            return await self._persistent(claim["claimName"], record.namespace)
        if secret := volume.get("secret"):
            found = await self._object("secrets", secret["secretName"], record.namespace)
            data = {name: base64.b64decode(text) for name, text in found.get("data", {}).items()}
            return _write(own, data)
        if config := volume.get("configMap"):
            found = await self._object("configmaps", config["name"], record.namespace)
            return _write(own, {name: text.encode() for name, text in found.get("data", {}).items()})
        if host := volume.get("hostPath"):
            own = self._on_disk(host["path"])
        own.mkdir(parents=True, exist_ok=True)  # an emptyDir, or a kind of volume that nobody here writes to
        return own

    async def _persistent(self, claim_name: str, namespace: str) -> Path:
        claim = await self._object("persistentvolumeclaims", claim_name, namespace)
        name = claim["spec"].get("volumeName")
        if not name:
            raise NotMountable(f'persistentvolumeclaim "{claim_name}" is not bound')
        spec = (await self._object("persistentvolumes", name))["spec"]
        directory: Path
        if "csi" in spec:
            directory = self._network_disks / spec["csi"]["volumeHandle"]
        else:
            directory = self._on_disk((spec.get("local") or spec["hostPath"])["path"])
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _on_disk(self, path: str) -> Path:
        return self._disk / path.lstrip("/")

    async def _object(self, resource: str, name: str, namespace: str = "") -> Json:
        found = await self._client.find(resource, name, namespace)
        if found is None:
            raise NotMountable(f'{resource.removesuffix("s")} "{name}" not found')
        return found


def _write(directory: Path, data: dict[str, bytes]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in data.items():
        (directory / name).write_bytes(content)
    return directory


def mounts(container: Json, directories: dict[str, Path], variables: dict[str, str]) -> list[Mount]:
    """The container's mounts, outer directories before those inside them; `subPathExpr` names its variables."""
    wanted = sorted(container.get("volumeMounts", []), key=lambda item: len(item["mountPath"]))
    return [_mount(item, directories[item["name"]], variables) for item in wanted]


def _mount(item: Json, directory: Path, variables: dict[str, str]) -> Mount:
    source = directory / (item.get("subPath") or expand(item.get("subPathExpr", ""), variables))
    if not source.exists():
        source.mkdir(parents=True)
    return Mount(str(source), item["mountPath"].rstrip("/"), item.get("readOnly", False))
