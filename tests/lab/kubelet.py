"""A kubelet without processes: it says of pods that they run and are ready, and confirms their deletion.

What it says is up to the test (`unready`, `hung`), which is how tests/lab plays a failed member: the API server and
the controllers cannot tell the difference. The same one serves both control planes.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from lab.kube_client import ApiError, KubeClient

Json = dict[str, Any]


class Kubelet:
    """Reports on the pods of one namespace that have a node."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.unready: set[str] = set()
        """Names of pods that run and are not Ready; change it with `report`."""
        self.hung: set[str] = set()
        """Names of pods whose processes do not end when asked."""
        self._client = client
        self._namespace = namespace
        self._task: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def fail(self, name: str) -> None:
        """Let a pod lose Ready, and not regain it under this name until `heal`."""
        async with self._one_at_a_time:
            self.unready.add(name)
            await self._report(name, ready=False)

    async def heal(self, name: str) -> None:
        """Let a pod be Ready again."""
        async with self._one_at_a_time:
            self.unready.discard(name)
            await self._report(name, ready=True)

    async def let_go(self, name: str) -> None:
        """End the processes of a pod of `hung` after all; it must be on its way out."""
        async with self._one_at_a_time:
            pod = await self._client.get("pods", name, self._namespace)
            self.hung.discard(name)
            await self._look_at(pod)

    async def _run(self) -> None:
        while True:
            async for kind, pod in self._client.watch("pods", self._namespace):
                if kind != "DELETED" and pod["spec"].get("nodeName"):
                    async with self._one_at_a_time:
                        await self._look_at(pod)

    async def _look_at(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        try:
            if "deletionTimestamp" in pod["metadata"]:
                if name not in self.hung:
                    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
                    await self._client.delete("pods", name, self._namespace, options)
            elif pod["status"].get("phase") == "Pending":
                await self._report(name, ready=name not in self.unready)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _report(self, name: str, *, ready: bool) -> None:
        word = "True" if ready else "False"
        state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        container = {
            "name": "main",
            "ready": ready,
            "restartCount": 0,
            "image": "i",
            "imageID": "i",
            "state": state,
        }
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {"status": word, "lastTransitionTime": since}
        conditions = [{"type": kind, **entry} for kind in ("Ready", "ContainersReady")]
        status = {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}
        await self._client.patch(
            "pods",
            name,
            {"status": status},
            self._namespace,
            subresource="status",
            content_type="application/strategic-merge-patch+json",
        )
