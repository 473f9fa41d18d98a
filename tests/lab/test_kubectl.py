"""kubectl against both: each command of the runbook, and those that a person looks around with."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from lab.control_plane import ControlPlane
from lab.kube_client import KubeClient
from lab.pki import AdminPki
from tests.lab.kubectl import Kubectl, KubectlError
from tests.lab.kubelet import Kubelet
from tests.lab.node_agent import NodeAgent
from tests.lab.test_exec import point_to
from tests.lab.world import World, flag_of, is_going, is_ready, uid_of

pytestmark = pytest.mark.needs("kubectl")
Json = dict[str, Any]


@pytest.fixture
def kubectl(control_plane: ControlPlane, world: World, tmp_path: Path) -> Kubectl:
    """kubectl as the administrator, in the test's namespace."""
    return Kubectl(control_plane.kubeconfig, world.namespace, tmp_path)


def manifest(name: str = "c", **data: str) -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    return json.dumps(body)


async def test_get_prints_the_columns_of_each_kind(world: World, kubectl: Kubectl, kubelet: Kubelet) -> None:
    await world.running_set(podManagementPolicy="Parallel")
    await world.budget(minAvailable=2)
    await world.until(lambda pdb: pdb["status"]["currentHealthy"] == 3, "poddisruptionbudgets", "pdb")
    pods = (await kubectl("get", "pods")).splitlines()
    assert pods[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert pods[1].split()[:4] == ["etcd-0", "1/1", "Running", "0"]
    assert "somewhere" in await kubectl("get", "pods", "-o", "wide")
    budget = (await kubectl("get", "pdb")).splitlines()
    assert budget[1].split()[:5] == ["pdb", "2", "N/A", "1", budget[1].split()[4]]
    assert (await kubectl("get", "sts")).splitlines()[1].split()[:2] == ["etcd", "3/3"]
    assert "etcd-0" in await kubectl("get", "all")
    assert (await kubectl("get", "pods", "-o", "name")).split() == [
        f"pod/etcd-{ordinal}" for ordinal in range(3)
    ]


async def test_get_nodes_shows_a_cordon(world: World, kubectl: Kubectl) -> None:
    node = await world.node()
    await kubectl("cordon", node)
    line = next(line for line in (await kubectl("get", "nodes")).splitlines() if node in line)
    assert line.split()[1] == "Ready,SchedulingDisabled"
    await kubectl("uncordon", node)
    line = next(line for line in (await kubectl("get", "nodes")).splitlines() if node in line)
    assert line.split()[1] == "Ready"


async def test_apply_creates_changes_and_leaves_unchanged(world: World, kubectl: Kubectl) -> None:
    assert await kubectl("apply", "-f", "-", feed=manifest(a="1")) == "configmap/c created\n"
    assert await kubectl("apply", "-f", "-", feed=manifest(a="1")) == "configmap/c unchanged\n"
    assert await kubectl("apply", "-f", "-", feed=manifest(b="2")) == "configmap/c configured\n"
    assert (await world.get("configmaps", "c"))["data"] == {"b": "2"}
    assert "serverside-applied" in await kubectl(
        "apply", "--server-side", "-f", "-", feed=manifest("d", a="1")
    )


async def test_the_backup_of_the_runbook_brings_the_budget_back(world: World, kubectl: Kubectl) -> None:
    """Steps 1, 2 and 11: get -o yaml, delete, apply."""
    before = await world.budget(minAvailable=2)
    backup = await kubectl("get", "pdb", "pdb", "-o", "yaml")
    await kubectl("delete", "pdb", "pdb")
    await kubectl("apply", "-f", "-", feed=backup)
    after = await world.get("poddisruptionbudgets", "pdb")
    assert after["spec"] == before["spec"]
    assert uid_of(after) != uid_of(before)


async def test_the_backup_over_a_budget_that_has_changed_is_a_conflict(
    world: World, kubectl: Kubectl
) -> None:
    await world.budget(minAvailable=2)
    backup = await kubectl("get", "pdb", "pdb", "-o", "yaml")
    await kubectl("patch", "pdb", "pdb", "--type=merge", "-p", '{"spec":{"minAvailable":1}}')
    with pytest.raises(KubectlError, match="the object has been modified"):
        await kubectl("apply", "-f", "-", feed=backup)


async def test_the_backup_of_a_former_life_is_refused_server_side_and_not_found_by_replace(
    world: World, kubectl: Kubectl
) -> None:
    await world.budget(minAvailable=2)
    backup = await kubectl("get", "pdb", "pdb", "-o", "yaml")
    await kubectl("delete", "pdb", "pdb")
    with pytest.raises(KubectlError):
        await kubectl("apply", "--server-side", "-f", "-", feed=backup)
    with pytest.raises(KubectlError, match="not found"):
        await kubectl("replace", "-f", "-", feed=backup)


async def test_edit_changes_the_flag(world: World, kubectl: Kubectl, tmp_path: Path) -> None:
    """Steps 3 and 10, with an editor that a script plays."""
    await world.stateful_set(replicas=0)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i s/initial-cluster-state=new/initial-cluster-state=existing/ $1\n")
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    assert "edited" in await kubectl("edit", "statefulset", "etcd", KUBE_EDITOR=str(editor))
    sts = await world.get("statefulsets", "etcd")
    assert flag_of(sts["spec"]["template"]) == "existing"


async def test_edit_without_a_change_changes_nothing(world: World, kubectl: Kubectl) -> None:
    created = await world.create("configmaps", {"metadata": {"name": "c"}})
    await kubectl("edit", "configmap", "c", KUBE_EDITOR="true")
    assert await world.get("configmaps", "c") == created


@pytest.mark.parametrize("kind", ["json", "merge", "strategic"])
async def test_patch(world: World, kubectl: Kubectl, kind: str) -> None:
    await world.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    body = '[{"op":"replace","path":"/data/a","value":"2"}]' if kind == "json" else '{"data":{"a":"2"}}'
    assert await kubectl("patch", "configmap", "c", f"--type={kind}", "-p", body) == "configmap/c patched\n"
    assert (await world.get("configmaps", "c"))["data"] == {"a": "2"}


async def test_drain_respects_a_budget_and_ignores_daemon_sets(
    world: World, client: KubeClient, kubectl: Kubectl, kubelet: Kubelet
) -> None:
    """Step 4. The pod of the DaemonSet stays, the pod with local data needs consent, the budget holds one back."""
    node = await world.node()
    await world.pod("unmanaged", nodeName=node)
    daemon_set = await world.daemon_set("agent")
    await world.daemon_pod(daemon_set, node)
    await world.pod("scratch", nodeName=node, volumes=[{"name": "v", "emptyDir": {}}])
    await world.until_pods(lambda pods: len(pods) == 3 and all(map(is_ready, pods.values())))
    with pytest.raises(KubectlError, match="cannot delete DaemonSet-managed Pods"):
        await kubectl("drain", node)
    with pytest.raises(KubectlError, match="delete-emptydir-data"):
        await kubectl("drain", node, "--ignore-daemonsets", "--force")
    consent = ["--ignore-daemonsets", "--delete-emptydir-data", "--force"]
    await world.budget(app="unmanaged", minAvailable=1)
    await world.until(lambda pdb: pdb["status"]["currentHealthy"] == 1, "poddisruptionbudgets", "pdb")
    with pytest.raises(KubectlError, match="violate the pod's disruption budget"):
        await kubectl("drain", node, *consent, "--timeout=2s")
    await client.delete("poddisruptionbudgets", "pdb", world.namespace)
    assert "drained" in await kubectl("drain", node, *consent)
    assert sorted(await world.pods()) == ["agent-pod"]
    assert (await client.get("nodes", node))["spec"]["unschedulable"] is True


async def test_exec_gives_output_and_exit_code(
    world: World, client: KubeClient, kubectl: Kubectl, pki: AdminPki
) -> None:
    node = await world.node()
    await world.pod(nodeName=node)
    async with NodeAgent(pki) as agent:
        await point_to(client, node, agent.port)
        assert await kubectl("exec", "p", "--", "echo", "hello") == "hello\n"
        assert await kubectl("exec", "p", "-c", "main", "--", "sh", "-c", "echo a; echo b") == "a\nb\n"
        with pytest.raises(KubectlError, match="exit code 7"):
            await kubectl("exec", "p", "--", "sh", "-c", "exit 7")
        assert await kubectl("logs", "p") == "log of main\n"
    with pytest.raises(KubectlError, match="not found"):
        await kubectl("exec", "none", "--", "true")


async def test_delete_waits_until_the_pod_is_gone(world: World, kubectl: Kubectl, kubelet: Kubelet) -> None:
    await world.pod(nodeName="somewhere")
    assert 'pod "p" deleted' in await kubectl("delete", "pod", "p")
    assert not await world.pods()


async def test_delete_with_force_does_not_wait(world: World, kubectl: Kubectl) -> None:
    await world.pod(nodeName="somewhere")
    await kubectl("delete", "pod", "p", "--grace-period=0", "--force")
    assert not await world.pods()


async def test_wait_for_a_condition(world: World, kubectl: Kubectl, kubelet: Kubelet) -> None:
    kubelet.unready.add("p")
    await world.pod(nodeName="somewhere")
    waiting = asyncio.create_task(kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=20s"))
    await world.until(lambda pod: pod["status"]["phase"] == "Running", "pods", "p")
    await kubelet.heal("p")
    assert await waiting == "pod/p condition met\n"


async def test_rollout_status_waits_for_the_set(world: World, kubectl: Kubectl, kubelet: Kubelet) -> None:
    await world.stateful_set()
    assert "complete" in await kubectl("rollout", "status", "statefulset/etcd", "--timeout=30s")


async def test_describe_shows_what_happened(world: World, kubectl: Kubectl, kubelet: Kubelet) -> None:
    node = await world.node()
    await world.pod(**world.on_own_nodes())
    await world.until_event("Scheduled", "p")
    described = await kubectl("describe", "pod", "p")
    assert "Successfully assigned" in described
    assert node in await kubectl("describe", "node", node)
    await world.budget(app="p", minAvailable=1)
    await world.until(lambda pdb: pdb["status"]["currentHealthy"] == 1, "poddisruptionbudgets", "pdb")
    assert "Allowed disruptions:  0" in await kubectl("describe", "pdb", "pdb")
    await world.stateful_set(replicas=0)
    assert "Update Strategy:    RollingUpdate" in await kubectl("describe", "statefulset", "etcd")


async def test_events_are_listed(world: World, kubectl: Kubectl) -> None:
    await world.stateful_set(replicas=1)
    await world.until_event("SuccessfulCreate", "etcd")
    assert "create Pod etcd-0" in await kubectl("events")
    assert "create Pod etcd-0" in await kubectl("get", "events")


async def test_scale_and_labels(world: World, client: KubeClient, kubectl: Kubectl, kubelet: Kubelet) -> None:
    await world.running_set()
    await kubectl("label", "pod", "etcd-0", "a=b")
    await kubectl("annotate", "pod", "etcd-0", "c=d")
    metadata = (await world.get("pods", "etcd-0"))["metadata"]
    assert (metadata["labels"]["a"], metadata["annotations"]["c"]) == ("b", "d")
    assert (await kubectl("get", "pods", "-l", "a=b", "-o", "name")) == "pod/etcd-0\n"
    await kubectl("scale", "statefulset", "etcd", "--replicas=2")
    await world.until_pods(lambda pods: len(pods) == 2)


async def test_can_i_and_the_version(kubectl: Kubectl) -> None:
    assert await kubectl("auth", "can-i", "delete", "pods") == "yes\n"
    assert "Server Version: v1.34" in await kubectl("version")
    resources = await kubectl("api-resources", "-o", "name")
    assert {"pods", "statefulsets.apps", "poddisruptionbudgets.policy"} <= set(resources.split())


async def test_create_and_dry_run(world: World, client: KubeClient, kubectl: Kubectl) -> None:
    await kubectl("create", "configmap", "c", "--from-literal=a=1", "--dry-run=server")
    assert await client.find("configmaps", "c", world.namespace) is None
    await kubectl("create", "configmap", "c", "--from-literal=a=1")
    with pytest.raises(KubectlError, match="already exists"):
        await kubectl("create", "configmap", "c")
    with pytest.raises(KubectlError, match=r"[Ff]orbidden"):
        await kubectl("create", "configmap", "d", "--as=nobody")


async def test_a_watch_is_printed(world: World, kubectl: Kubectl, kubelet: Kubelet) -> None:
    await world.pod(nodeName="somewhere")
    printed = await kubectl("get", "pods", "-w", "--request-timeout=2s")
    assert printed.splitlines()[1].split()[0] == "p"


async def test_taint(world: World, client: KubeClient, kubectl: Kubectl) -> None:
    node = await world.node()
    await kubectl("taint", "node", node, "example.com/x=y:NoExecute")
    taints = (await client.get("nodes", node))["spec"]["taints"]
    assert [(taint["key"], taint["effect"]) for taint in taints] == [("example.com/x", "NoExecute")]
    await kubectl("taint", "node", node, "example.com/x-")


async def test_an_eviction_that_is_going_on_is_shown(
    world: World, client: KubeClient, kubectl: Kubectl
) -> None:
    await world.pod(nodeName="somewhere")
    await client.evict("p", world.namespace)
    assert is_going(await world.get("pods", "p"))
    assert "Terminating" in await kubectl("get", "pods")
