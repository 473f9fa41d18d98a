"""The runbook by hand: as it is written, and in the order of docs/contract.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.fixture.names import NAMESPACE, REPLICAS, SERVICE, node_of
from tests.lab.nodes.kubectl import Kubectl, KubectlFailed, utility_pod
from tests.lab.nodes.waiting import until

SCRIPT = Path(__file__).with_name("runbook.sh")
FLAG = "--initial-cluster-state="


class ByHand:
    """One replacement, step by step; each method is one step of a person."""

    def __init__(self, kubectl: Kubectl, replica: str) -> None:
        self.kubectl = kubectl
        self.replica = replica
        self.ordinal = int(replica.rpartition("-")[2])
        self.node = node_of(replica)
        self.survivor = next(name for name in REPLICAS if name != replica)

    async def set_flag(self, value: str, strategy: str | None = None) -> None:
        """Edit the StatefulSet's argument, and its update strategy if asked to."""
        stateful_set = await self.kubectl.get("statefulset", "kube-etcd")
        args = stateful_set["spec"]["template"]["spec"]["containers"][0]["args"]
        edited = [f"{FLAG}{value}" if word.startswith(FLAG) else word for word in args]
        template = {"spec": {"containers": [{"name": "kube-etcd", "args": edited}]}}
        spec: dict[str, Any] = {"template": template}
        if strategy:
            spec["updateStrategy"] = {"type": strategy, "rollingUpdate": None}
        await self.kubectl(
            "patch", "statefulset", "kube-etcd", "--type=strategic", "--patch", json.dumps({"spec": spec})
        )

    async def remove_member(self) -> None:
        """List the members, find the failed one's id, remove it; again while a rollout is restarting them."""

        async def removed() -> bool:
            try:
                identifier = (await self.kubectl.member_ids(self.survivor))[self.replica]
                await self.kubectl.etcdctl(self.survivor, "member", "remove", identifier)
            except KubectlFailed:
                return False
            except KeyError:  # the answer of an earlier try was lost, the removal was not
                return True
            return True

        await until(removed)

    async def add_member(self) -> None:
        """What the runbook leaves out; refused for some seconds after the removal."""
        peer = f"https://{self.replica}.{SERVICE}:2380"

        async def added() -> bool:
            try:
                await self.kubectl.etcdctl(
                    self.survivor, "member", "add", self.replica, f"--peer-urls={peer}"
                )
            except KubectlFailed:
                return peer in await self.kubectl.etcdctl(self.survivor, "member", "list")
            return True

        await until(added)

    async def create_utility_pod(self) -> None:
        """Create it and wait until it is Ready."""
        manifest = json.dumps(utility_pod(self.ordinal, self.node))
        await self.kubectl("apply", "--filename=-", feed=manifest)
        await self.kubectl(
            "wait", "--for=condition=Ready", f"pod/etcd-utility-{self.ordinal}", "--timeout=30s"
        )

    async def clean(self) -> None:
        """Empty the data directory from the utility Pod, and delete the Pod."""
        pod = f"etcd-utility-{self.ordinal}"
        await self.kubectl("exec", pod, "--", "/bin/bash", "-c", "rm -rf /var/lib/etcd/*")
        await self.kubectl("delete", "pod", pod)

    async def started_and_ready(self) -> None:
        """Until the member is started, healthy, and its pod Ready."""

        async def healthy() -> bool:
            try:
                await self.kubectl.etcdctl(self.replica, "endpoint", "health")
            except KubectlFailed:
                return False
            pod = await self.kubectl.get("pod", self.replica)
            return any(item["ready"] for item in pod["status"]["containerStatuses"])

        await until(healthy)

    async def look_at_the_pod(self) -> None:
        """A person looks whether it comes up before going on: until it has failed."""

        async def failed() -> bool:
            pod = await self.kubectl.get("pod", self.replica)
            return any(item["restartCount"] for item in pod["status"].get("containerStatuses", []))

        await until(failed)

    async def as_the_contract_says(self) -> None:
        """The order that restarts no healthy member."""
        kubectl = self.kubectl
        backup = await kubectl("get", "poddisruptionbudget", "kube-etcd-pdb", "--output=yaml")
        await kubectl("delete", "poddisruptionbudget", "kube-etcd-pdb")
        await self.set_flag("existing", "OnDelete")
        await kubectl("cordon", self.node)
        await self.create_utility_pod()
        await kubectl.evict(self.replica, grace=3)
        await kubectl("create", "--filename=-", feed=json.dumps(PROTECTION))
        await kubectl(
            "drain", self.node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=run!=by-hand"
        )
        await self.remove_member()
        await self.clean()
        await self.add_member()
        await kubectl("uncordon", self.node)
        await self.started_and_ready()
        await self.set_flag("new")
        await kubectl("delete", "pod", self.replica)
        await self.started_and_ready()
        strategy = {"spec": {"updateStrategy": {"type": "RollingUpdate"}}}
        await kubectl("patch", "statefulset", "kube-etcd", "--type=merge", "--patch", json.dumps(strategy))
        await kubectl("delete", "poddisruptionbudget", "kube-etcd-pdb")
        await kubectl("apply", "--filename=-", feed=backup)

    async def as_it_is_written(self) -> None:
        """The eleven steps, without the member add and the waits that the runbook leaves out: `runbook.sh`."""
        await self.kubectl.script(
            SCRIPT,
            utility_pod(self.ordinal, self.node),
            USER_CLUSTER_NAME=NAMESPACE,
            NODE_NAME=self.node,
            MEMBER_NUMBER=str(self.ordinal),
            WORKING_POD=self.survivor,
        )


PROTECTION = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "kube-etcd-pdb", "namespace": NAMESPACE},
    "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "kube-etcd"}}},
}
