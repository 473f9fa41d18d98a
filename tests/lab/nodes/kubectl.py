"""The operation as a person does it: kubectl against a lab, one command after another."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from lab.fixture.names import CERTIFICATES, CONTAINER, NAMESPACE, SECRET

ETCDCTL = (
    "etcdctl",
    f"--cacert={CERTIFICATES}/etcdCA.crt",
    f"--cert={CERTIFICATES}/etcd.crt",
    f"--key={CERTIFICATES}/etcd.key",
    "--endpoints=https://127.0.0.1:2379",
)


class KubectlFailed(Exception):
    """kubectl ended with an error."""


class Kubectl:
    """kubectl as the administrator, in the user cluster's namespace."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self._program = program
        self._kubeconfig = kubeconfig

    async def __call__(self, *words: str, feed: str | None = None, within: float = 90) -> str:
        where = (f"--kubeconfig={self._kubeconfig}", f"--namespace={NAMESPACE}")
        return await self._run([str(self._program), *where, *words], feed or "", within, {})

    async def script(self, path: Path, manifest: dict[str, Any], within: float = 180, **names: str) -> str:
        """Run a script whose `kubectl` is this one; the utility Pod's manifest is a file to it."""
        file = self._kubeconfig.with_name("utility-pod.json")
        file.write_text(json.dumps(manifest | {"metadata": manifest["metadata"] | {"namespace": NAMESPACE}}))
        names |= {"KUBECONFIG": str(self._kubeconfig), "UTILITY_MANIFEST": str(file)}
        names["PATH"] = f"{self._program.parent}:{os.environ['PATH']}"
        try:
            return await self._run(["/bin/bash", str(path)], "", within, names)
        finally:
            file.unlink()

    async def _run(self, command: list[str], feed: str, within: float, names: dict[str, str]) -> str:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self._kubeconfig.parent), "PATH": os.environ["PATH"]} | names,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(feed.encode()), within)
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode != 0:
            raise KubectlFailed(f"{' '.join(command)}: {process.returncode} {errors.decode()}")
        return output.decode()

    async def get(self, *words: str) -> dict[str, Any]:
        """`kubectl get -o json`."""
        found: dict[str, Any] = json.loads(await self("get", *words, "--output=json"))
        return found

    async def etcdctl(self, pod: str, *words: str) -> str:
        """etcdctl in a member's container, at its own endpoint."""
        return await self("exec", pod, f"--container={CONTAINER}", "--", *ETCDCTL, *words)

    async def member_ids(self, pod: str) -> dict[str, str]:
        """Every listed member's hexadecimal id by its name."""
        lines = (await self.etcdctl(pod, "member", "list")).splitlines()
        rows = [[word.strip() for word in line.split(",")] for line in lines]
        return {row[2]: row[0] for row in rows}

    async def evict(self, pod: str, grace: int) -> None:
        """Post an Eviction; kubectl has no command for a single one."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": NAMESPACE},
            "deleteOptions": {"gracePeriodSeconds": grace},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        await self("create", f"--raw={path}", "--filename=-", feed=json.dumps(body))


def utility_pod(ordinal: int, node: str, grace: int = 1) -> dict[str, Any]:
    """The runbook's utility Pod, as the vendor's page shows it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"etcd-utility-{ordinal}", "labels": {"run": "by-hand"}},
        "spec": {
            "terminationGracePeriodSeconds": grace,
            "containers": [
                {
                    "name": "etcd-utility",
                    "image": "gcr.io/gke-on-prem-release/etcd-util:lab",
                    "command": ["/bin/sh", "-ec", "while :; do sleep 5; done"],
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/var/lib/etcd"},
                        {"name": "certs", "mountPath": CERTIFICATES},
                    ],
                }
            ],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": f"data-kube-etcd-{ordinal}"}},
                {"name": "certs", "secret": {"secretName": SECRET, "defaultMode": 420}},
            ],
            "nodeSelector": {
                "kubernetes.googleapis.com/cluster-name": NAMESPACE,
                "kubernetes.io/hostname": node,
            },
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "operator": "Exists"},
            ],
        },
    }
