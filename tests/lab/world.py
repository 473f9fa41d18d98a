"""What a test makes up in its namespace, and waiting for what becomes of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.kube_client import ApiError, KubeClient

Json = dict[str, Any]

PATIENCE = 15.0
GRACE = 30
STRATEGIC = "application/strategic-merge-patch+json"
_numbers = itertools.count()


class World:
    """One namespace, and the nodes and volumes that belong to it by name."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self._cluster_wide: list[tuple[str, str]] = []

    def unique(self, name: str) -> str:
        """A name for something that has no namespace."""
        return f"{name}-{self.namespace[-5:]}-{next(_numbers)}"

    def own(self, resource: str, name: str) -> None:
        """Remove something that has no namespace when the test ends."""
        self._cluster_wide.append((resource, name))

    async def remove(self) -> None:
        """Leave nothing that the next test could trip over."""
        for pod in await self.client.list("pods", self.namespace):
            await self._delete("pods", pod["metadata"]["name"], self.namespace, gracePeriodSeconds="0")
        await self._delete("namespaces", self.namespace)
        for resource, name in reversed(self._cluster_wide):
            await self._delete(resource, name)

    async def _delete(self, resource: str, name: str, namespace: str = "", **params: str) -> None:
        try:
            await self.client.delete(resource, name, namespace, None, **params)
        except ApiError as error:
            if error.code != 404:
                raise

    async def get(self, resource: str, name: str) -> Json:
        return await self.client.get(resource, name, self.namespace)

    async def create(self, resource: str, body: Json) -> Json:
        return await self.client.create(resource, body, self.namespace)

    async def pod(self, name: str = "p", **spec: Any) -> Json:
        """Create a pod; with `nodeName` it needs no scheduler, and no such node either."""
        return await self.create("pods", {"metadata": pod_metadata(name, spec), "spec": pod_spec(**spec)})

    async def stateful_set(self, name: str = "etcd", replicas: int = 3, **spec: Any) -> Json:
        return await self.create("statefulsets", stateful_set(name, replicas, **spec))

    async def budget(self, name: str = "pdb", app: str = "etcd", **spec: Any) -> Json:
        selector = {"matchLabels": {"app": app}}
        return await self.create(
            "poddisruptionbudgets", {"metadata": {"name": name}, "spec": {"selector": selector, **spec}}
        )

    async def daemon_set(self, name: str) -> Json:
        """A DaemonSet that no controller fills: the lab makes its pods by hand, on both control planes."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": pod_spec()}
        spec = {"selector": {"matchLabels": labels}, "template": template}
        return await self.create("daemonsets", {"metadata": {"name": name}, "spec": spec})

    async def daemon_pod(self, daemon_set: Json, node: str) -> Json:
        """A pod of a DaemonSet on a node."""
        metadata = daemon_set["metadata"]
        reference = {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        body = pod_metadata(f"{metadata['name']}-pod", {})
        body["ownerReferences"] = [{**reference, "controller": True}]
        return await self.create("pods", {"metadata": body, "spec": pod_spec(nodeName=node)})

    async def node(self, name: str = "node", *, ready: bool = True) -> str:
        """Create a node that says whether it is ready, as a kubelet does, and wait until it is believed."""
        full = self.unique(name)
        self.own("nodes", full)
        labels = {"kubernetes.io/hostname": full, "test": self.namespace}
        room = {"pods": "100", "cpu": "8", "memory": "8Gi"}
        status = {"conditions": [ready_condition(ready=ready)], "capacity": room, "allocatable": room}
        await self.client.create("nodes", {"metadata": {"name": full, "labels": labels}, "status": status})
        await self.until(lambda node: bool(node["spec"].get("taints")) != ready, "nodes", full, namespace="")
        return full

    async def node_says(self, name: str, *, ready: bool) -> None:
        """Write a node's condition, with the time at which the kubelet wrote it."""
        body = {"status": {"conditions": [ready_condition(ready=ready)]}}
        await self.client.patch("nodes", name, body, subresource="status", content_type=STRATEGIC)

    def on_own_nodes(self) -> Json:
        """The part of a pod's spec that keeps it on this test's nodes."""
        return {"nodeSelector": {"test": self.namespace}}

    def claim(self, name: str, kind: str = "", modes: Sequence[str] = ("ReadWriteOnce",)) -> Json:
        """A claim for a gigabyte."""
        requests = {"requests": {"storage": "1Gi"}}
        spec = {"accessModes": list(modes), "resources": requests, "storageClassName": kind}
        return {"metadata": {"name": name}, "spec": spec}

    async def volume(
        self,
        claim: str | None,
        node: str,
        *,
        size: str = "1Gi",
        kind: str = "",
        modes: Sequence[str] = ("ReadWriteOnce",),
        with_claim: bool = True,
    ) -> str:
        """Create a volume on a node for a claim, and the claim, and wait until they are bound."""
        name = self.unique("volume")
        self.own("persistentvolumes", name)
        term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
        spec: Json = {
            "capacity": {"storage": size},
            "accessModes": list(modes),
            "storageClassName": kind,
            "hostPath": {"path": "/nowhere"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        }
        if claim is not None:
            spec["claimRef"] = {"namespace": self.namespace, "name": claim}
        await self.client.create("persistentvolumes", {"metadata": {"name": name}, "spec": spec})
        if claim is None:
            return name
        if with_claim:
            await self.create("persistentvolumeclaims", self.claim(claim, kind, modes))
        await self.until(
            lambda found: found["status"].get("phase") == "Bound", "persistentvolumeclaims", claim
        )
        return name

    async def until(
        self,
        holds: Callable[[Json], bool],
        resource: str,
        name: str,
        *,
        namespace: str | None = None,
        within: float = PATIENCE,
    ) -> Json:
        """Wait until something is true of one object, and return the object."""
        where = self.namespace if namespace is None else namespace
        last: Json = {}
        try:
            async with asyncio.timeout(within):
                async for kind, obj in self.client.watch(
                    resource, where, fieldSelector=f"metadata.name={name}"
                ):
                    last = obj
                    if kind != "DELETED" and holds(obj):
                        return obj
        except TimeoutError:
            pass
        raise AssertionError(f"{resource} {name} did not come to it within {within:.0f} s: {last}")

    async def until_gone(
        self, resource: str, name: str, uid: str, *, namespace: str | None = None, within: float = PATIENCE
    ) -> None:
        """Wait until this very object is gone."""
        where = self.namespace if namespace is None else namespace
        async with asyncio.timeout(within):
            found = await self.client.find(resource, name, where)
            if found is None or found["metadata"]["uid"] != uid:
                return
            version = found["metadata"]["resourceVersion"]
            async for kind, obj in self.client.watch(resource, where, resourceVersion=version):
                if kind == "DELETED" and obj["metadata"]["uid"] == uid:
                    return

    async def until_no_pods(self) -> None:
        """Wait until every pod of the namespace is gone."""
        for name, pod in (await self.pods()).items():
            await self.until_gone("pods", name, uid_of(pod))

    async def until_pods(
        self, holds: Callable[[dict[str, Json]], bool], within: float = PATIENCE
    ) -> dict[str, Json]:
        """Wait until something is true of all pods of the namespace, by name."""
        pods: dict[str, Json] = {}
        try:
            async with asyncio.timeout(within):
                async for kind, pod in self.client.watch("pods", self.namespace):
                    name = pod["metadata"]["name"]
                    if kind == "DELETED":
                        pods.pop(name, None)
                    else:
                        pods[name] = pod
                    if holds(pods):
                        return pods
        except TimeoutError:
            pass
        raise AssertionError(f"the pods did not come to it within {within:.0f} s: {summary(pods)}")

    async def running_set(self, **spec: Any) -> dict[str, Json]:
        """Create a StatefulSet of three and wait until they are Ready and counted."""
        await self.stateful_set(**spec)
        await self.until(lambda sts: sts["status"].get("readyReplicas") == 3, "statefulsets", "etcd")
        return await self.settled()

    async def until_replaced(self, name: str, before: dict[str, Json]) -> Json:
        """Wait until another pod has this name."""
        old = uid_of(before[name])
        pods = await self.until_pods(lambda pods: name in pods and uid_of(pods[name]) != old)
        return pods[name]

    async def until_replaced_with(self, flag: str, name: str, before: dict[str, Json]) -> None:
        """Wait until another pod has this name, and this flag.

        Where the StatefulSet controller has not yet seen its own status, it may make the pod with the old flag first,
        and replace it again.
        """
        old = uid_of(before[name])
        await self.until_pods(
            lambda pods: name in pods and uid_of(pods[name]) != old and flag_of(pods[name]) == flag
        )

    async def set_flag(self, value: str, strategy: Json | None = None) -> Json:
        """Edit the flag as the operation does, by a JSON patch, with the update strategy in the same patch."""
        path = "/spec/template/spec/containers/0/args/0"
        patch: list[Json] = [{"op": "replace", "path": path, "value": f"--initial-cluster-state={value}"}]
        if strategy is not None:
            patch.append({"op": "replace", "path": "/spec/updateStrategy", "value": strategy})
        return await self.client.patch("statefulsets", "etcd", patch, self.namespace)

    async def until_event(self, reason: str, about: str) -> Json:
        """Wait for an event about an object."""
        selector = f"involvedObject.name={about}"
        async with asyncio.timeout(PATIENCE):
            async for _, event in self.client.watch("events", self.namespace, fieldSelector=selector):
                if event["reason"] == reason:
                    return event
        raise AssertionError(f"no event {reason}")

    async def settled(self, name: str = "etcd") -> dict[str, Json]:
        """Let the StatefulSet controller look at all that has happened; then return the pods by name.

        Twice it is given an edit that matters to nothing and waited for: what it meant to do, it has done.
        """
        for _ in range(2):
            sts = await self.get("statefulsets", name)
            limit = sts["spec"]["revisionHistoryLimit"] + 1
            patched = await self.client.patch(
                "statefulsets", name, {"spec": {"revisionHistoryLimit": limit}}, self.namespace
            )
            await self.until(_observed(patched["metadata"]["generation"]), "statefulsets", name)
        return await self.pods()

    async def pods(self) -> dict[str, Json]:
        return {pod["metadata"]["name"]: pod for pod in await self.client.list("pods", self.namespace)}

    async def refused(self, code: int, call: Any) -> ApiError:
        """Await a call that must fail with this code, and return the failure."""
        with pytest.raises(ApiError) as refusal:
            await call
        assert refusal.value.code == code, refusal.value
        return refusal.value


def _observed(generation: int) -> Callable[[Json], bool]:
    return lambda obj: obj["status"].get("observedGeneration", 0) >= generation


def pod_metadata(name: str, spec: Json) -> Json:
    return {"name": name, "labels": spec.pop("labels", {"app": name})}


def pod_spec(**spec: Any) -> Json:
    container = {"name": "main", "image": "example.com/image:1", **spec.pop("container", {})}
    return {"containers": [container], **spec}


def stateful_set(name: str, replicas: int, **spec: Any) -> Json:
    labels = {"app": name}
    arguments = spec.pop("args", ["--initial-cluster-state=new"])
    template = pod_spec(container={"args": arguments}, nodeName="somewhere", **spec.pop("pod", {}))
    return {
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template},
            **spec,
        },
    }


def ready_condition(*, ready: bool) -> Json:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reason = "KubeletReady" if ready else "KubeletNotReady"
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    return {"type": "Ready", "status": "True" if ready else "False", "reason": reason, **times}


def is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)


def is_going(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def arguments_of(pod: Json) -> Sequence[str]:
    arguments: Sequence[str] = pod["spec"]["containers"][0].get("args", [])
    return arguments


def flag_of(pod: Json) -> str:
    return arguments_of(pod)[0].partition("=")[2]


def revision_of(pod: Json) -> str:
    revision: str = pod["metadata"]["labels"]["controller-revision-hash"]
    return revision


def uid_of(obj: Json) -> str:
    uid: str = obj["metadata"]["uid"]
    return uid


def summary(pods: dict[str, Json]) -> str:
    return ", ".join(
        f"{name} ready={is_ready(pod)} going={is_going(pod)}" for name, pod in sorted(pods.items())
    )
