"""What a container sees: its own root, processes, network, names, volumes and variables."""

from __future__ import annotations

import pytest

from lab.client import LabClient
from tests.lab.nodes import pods
from tests.lab.nodes.waiting import until
from tests.lab.remote_exec import execute
from tests.lab.world import Json, World

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("namespaces")]


async def output(world: World, pod: str, script: str) -> str:
    """What a script prints inside a pod."""
    result = await execute(world.client, world.namespace, pod, "sh", "-c", script)
    return result.stdout.strip()


async def test_nothing_of_the_host_can_be_written(world: World) -> None:
    """The programs of the host are there, read-only; its other files are not there at all."""
    await pods.start(world)
    assert await output(world, "p", "touch /usr/bin/x /bin/y 2>&1 | grep -c Read-only") == "2"
    assert (
        await output(world, "p", "ls -A /root /run /home /srv /mnt 2>/dev/null | grep -v :$ | wc -w") == "0"
    )


async def test_only_its_own_processes_are_seen(world: World) -> None:
    """The container's command is process 1."""
    await pods.start(world)
    assert "sleep infinity" in await output(world, "p", "tr '\\0' ' ' </proc/1/cmdline")
    numbers = await output(world, "p", "ls /proc | grep -c '^[0-9]'")
    assert int(numbers) < 10


async def test_the_downward_api_and_references_in_arguments(world: World) -> None:
    """`$(VAR)` is replaced where VAR is known, `$$` is an escape."""
    env: list[Json] = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "https://$(POD_NAME).kube-etcd"},
    ]
    script = "echo $0 $1 $2 $POD_IP >/tmp/said; exec sleep infinity"
    container = {"env": env, "args": ["$(URL)", "$(NOT_KNOWN)", "$$(URL)"]}
    pod = await pods.start(world, command=pods.shell(script), container=container)
    address = pod["status"]["podIP"]

    async def said() -> bool:
        return (
            await output(world, "p", "cat /tmp/said") == f"https://p.kube-etcd $(NOT_KNOWN) $(URL) {address}"
        )

    await until(said)


async def test_pods_of_a_headless_service_find_each_other_by_name(world: World) -> None:
    """`NAME.SERVICE` from the same namespace, the long form from anywhere, and back again."""
    await pods.start(world, "one", hostname="one", subdomain="svc")
    second = await pods.start(world, "two", hostname="two", subdomain="svc", nodeName="node-2")
    address = second["status"]["podIP"]
    full = f"two.svc.{world.namespace}.svc.cluster.local"

    async def found() -> bool:
        return (await output(world, "one", "getent ahostsv4 two.svc")).startswith(address)

    await until(found)
    assert (await output(world, "one", f"getent ahostsv4 {full}")).startswith(address)
    assert full in await output(world, "one", f"getent hosts {address}")
    both = await output(world, "one", "getent ahostsv4 svc | awk '{print $1}' | sort -u | wc -l")
    assert both == "2"
    assert await output(world, "one", "getent ahostsv4 nobody.svc || echo none") == "none"


async def test_an_empty_dir_lives_as_long_as_its_pod(world: World) -> None:
    """It outlives the container, and is shared by nobody."""
    volume = [{"name": "scratch", "emptyDir": {}}]
    mounts = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    await pods.start(world, container=mounts, volumes=volume)
    await output(world, "p", "echo kept >/scratch/file; kill -TERM 1")
    await world.until(lambda pod: pods.restarts(pod) == 1 and pods.ready(pod), "pods", "p")
    assert await output(world, "p", "cat /scratch/file") == "kept"


async def test_two_pods_of_one_node_share_a_claim(world: World) -> None:
    """ReadWriteOnce is per node: nothing but the operation protects a running member's data."""
    await claim(world, "data")
    volume = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    whole = {"volumeMounts": [{"name": "data", "mountPath": "/var/lib/etcd"}]}
    below = {"volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "member"}]}
    await pods.start(world, "one", container=whole, volumes=volume)
    await pods.start(world, "two", container=below, volumes=volume)
    await output(world, "one", "mkdir -p /var/lib/etcd/member && echo live >/var/lib/etcd/member/db")
    assert await output(world, "two", "cat /data/db") == "live"


async def test_a_local_volume_is_found_again_on_its_node(world: World) -> None:
    """What the first pod wrote is what the next one meets: why the directory has to be cleaned."""
    await claim(world, "data")
    volume = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod = await pods.start(world, container=mounts, volumes=volume)
    await output(world, "p", "echo old >/data/file")
    await world.client.delete("pods", "p", world.namespace)
    await world.until_gone("pods", "p", pod["metadata"]["uid"])
    await pods.start(world, container=mounts, volumes=volume)
    assert await output(world, "p", "cat /data/file") == "old"


async def claim(world: World, name: str) -> None:
    """A claim bound to a volume on node-1."""
    volume = world.unique("volume")
    world.own("persistentvolumes", volume)
    size = {"storage": "1Gi"}
    node = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}
    await world.client.create(
        "persistentvolumes",
        {
            "metadata": {"name": volume},
            "spec": {
                "capacity": size,
                "accessModes": ["ReadWriteOnce"],
                "claimRef": {"namespace": world.namespace, "name": name},
                "local": {"path": f"/mnt/{volume}"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
            },
        },
    )
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": size}}
    await world.create("persistentvolumeclaims", {"metadata": {"name": name}, "spec": spec})
    await world.until(lambda found: found["status"].get("phase") == "Bound", "persistentvolumeclaims", name)


async def test_pods_reach_each_other_until_the_link_is_cut(world: World, lab: LabClient) -> None:
    """Every pod is on one network; a partition leaves a pod alone with itself."""
    await pods.start(world, "one")
    second = await pods.start(world, "two", nodeName="node-3")
    knock = f"timeout 1 bash -c '</dev/tcp/{second['status']['podIP']}/1' 2>&1 | grep -q refused; echo $?"
    refused, silent = "0", "1"
    assert await output(world, "one", knock) == refused
    await lab.set_link("two", up=False, namespace=world.namespace)
    assert await output(world, "one", knock) == silent
    await lab.set_link("two", up=True, namespace=world.namespace)

    async def reachable() -> bool:
        return await output(world, "one", knock) == refused

    await until(reachable)


async def test_two_pods_are_cut_off_from_each_other_only(world: World, lab: LabClient) -> None:
    """A partition between two: each reaches everybody else."""
    addresses = {name: await _address(world, name) for name in ("one", "two", "three")}

    async def reach(pod: str, other: str) -> bool:
        knock = f"timeout 1 bash -c '</dev/tcp/{addresses[other]}/1' 2>&1 | grep -q refused; echo $?"
        return await output(world, pod, knock) == "0"

    await lab.set_partition("one", "two", cut=True, namespace=world.namespace)
    assert not await reach("one", "two")
    assert not await reach("two", "one")
    assert await reach("one", "three")
    assert await reach("three", "two")
    await lab.set_partition("one", "two", cut=False, namespace=world.namespace)
    assert await reach("one", "two")
    assert await reach("two", "one")


async def _address(world: World, name: str) -> str:
    pod = await pods.start(world, name)
    return str(pod["status"]["podIP"])
