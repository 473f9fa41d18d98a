"""kubectl, run against a control plane of these tests."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from lab.binaries import control_plane_folder

Json = dict[str, Any]
PATIENCE = 60.0


class KubectlError(Exception):
    """kubectl ended with an error; the text is what it said."""


class Kubectl:
    """kubectl as the administrator, in one namespace, or (none) where its arguments say."""

    def __init__(self, kubeconfig: Path, namespace: str, home: Path) -> None:
        where = [f"--namespace={namespace}"] if namespace else []
        self._arguments = [f"--kubeconfig={kubeconfig}", *where]
        self._environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "KUBECTL_COMMAND_HEADERS": "false",
        }

    async def __call__(self, *words: str, feed: str = "", **environment: str) -> str:
        """Run it, and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            control_plane_folder() / "kubectl",
            *self._arguments,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment | environment,
        )
        output, errors = await asyncio.wait_for(process.communicate(feed.encode()), PATIENCE)
        if process.returncode != 0:
            raise KubectlError(errors.decode())
        return output.decode()

    async def get(self, *words: str) -> Json:
        """`kubectl get -o json`."""
        found: Json = json.loads(await self("get", *words, "-o", "json"))
        return found
