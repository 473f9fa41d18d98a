"""A pod's life on a node: start, crash loop, readiness, deletion with grace."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.lab.nodes import pods
from tests.lab.nodes.waiting import until
from tests.lab.remote_exec import execute
from tests.lab.world import World, uid_of

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("namespaces")]

READY_FILE = "/tmp/ready"  # noqa: S108 - the container's own


async def test_a_pod_becomes_ready_with_an_address_of_its_own(world: World) -> None:
    """Two pods, two addresses, two loopbacks."""
    first, second = await asyncio.gather(
        pods.start(world, "one"), pods.start(world, "two", nodeName="node-2")
    )
    assert first["status"]["phase"] == "Running"
    assert first["status"]["podIP"] != second["status"]["podIP"]
    assert pods.container_status(first)["state"]["running"]["startedAt"]


async def test_a_restart_keeps_the_address_and_a_new_pod_gets_a_new_one(world: World) -> None:
    """The network belongs to the pod, not to the container."""
    pod = await pods.start(world)
    await execute(world.client, world.namespace, "p", "sh", "-c", "kill -TERM 1")
    restarted = await world.until(lambda p: pods.restarts(p) == 1 and pods.ready(p), "pods", "p")
    assert restarted["status"]["podIP"] == pod["status"]["podIP"]
    await world.client.delete("pods", "p", world.namespace)
    await world.until_gone("pods", "p", uid_of(pod))
    again = await pods.start(world)
    assert again["status"]["podIP"] != pod["status"]["podIP"]


async def test_a_failing_container_is_restarted_with_back_off(world: World) -> None:
    """CrashLoopBackOff, with the end of the last run beside it."""
    await pods.create(world, command=pods.shell("exit 7"))
    await world.until(lambda pod: pods.restarts(pod) >= 2, "pods", "p")
    looping = await world.until(lambda pod: pods.waiting_reason(pod) == "CrashLoopBackOff", "pods", "p")
    status = pods.container_status(looping)
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert looping["status"]["phase"] == "Running"
    assert pods.condition(looping, "Ready") == "False"


async def test_a_container_that_exits_with_zero_is_restarted_too(world: World) -> None:
    """A permanently removed etcd member does that; restartPolicy Always knows no success."""
    await pods.create(world, command=pods.shell("exit 0"))
    pod = await world.until(lambda pod: pods.restarts(pod) >= 2, "pods", "p")
    last = pods.container_status(pod)["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (0, "Completed")


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (1, "Failed")])
async def test_a_pod_that_is_never_restarted_ends_in_a_phase(world: World, code: int, phase: str) -> None:
    """restartPolicy Never."""
    await pods.create(world, command=pods.shell(f"exit {code}"), restartPolicy="Never")
    pod = await world.until(lambda pod: pod["status"].get("phase") == phase, "pods", "p")
    assert pods.restarts(pod) == 0


async def test_a_program_that_does_not_exist_cannot_start(world: World) -> None:
    """Exit code 128 and the reason, as containerd reports it."""
    await pods.create(world, command=["no-such-program"])
    pod = await world.until(lambda pod: bool(pods.container_status(pod).get("lastState")), "pods", "p")
    ended = pods.container_status(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")


async def test_readiness_follows_the_probe_and_not_the_process(world: World) -> None:
    """Ready only after a success, and no longer after as many failures as asked for."""
    probe = {"exec": {"command": ["test", "-e", READY_FILE]}, "periodSeconds": 1, "failureThreshold": 2}
    await pods.create(world, container={"readinessProbe": probe})
    running = await world.until(lambda pod: pods.container_status(pod).get("started") is True, "pods", "p")
    assert not pods.ready(running)
    await execute(world.client, world.namespace, "p", "touch", READY_FILE)
    await world.until(pods.ready, "pods", "p")
    await execute(world.client, world.namespace, "p", "rm", READY_FILE)
    await world.until(lambda pod: not pods.ready(pod), "pods", "p")


async def test_a_port_where_nobody_listens_is_not_ready(world: World) -> None:
    """The node asks the pod over the network."""
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    await pods.create(world, container={"readinessProbe": probe})
    pod = await world.until(lambda pod: pods.container_status(pod).get("started") is True, "pods", "p")
    assert not pods.ready(pod)


async def test_an_obedient_pod_is_gone_soon_after_its_deletion(world: World) -> None:
    """SIGTERM, its end, and then the end of the object: the grace period is not waited out."""
    pod = await pods.start(world, terminationGracePeriodSeconds=30)
    began = time.monotonic()
    await world.client.delete("pods", "p", world.namespace)
    await world.until_gone("pods", "p", uid_of(pod))
    assert time.monotonic() - began < 10


async def test_a_pod_that_ignores_sigterm_takes_its_whole_grace_period(world: World) -> None:
    """A shell as the first process of its namespace does: the runbook's utility Pod takes 32 s this way."""
    pod = await pods.start(world, command=pods.STUBBORN, terminationGracePeriodSeconds=3)
    began = time.monotonic()
    await world.client.delete("pods", "p", world.namespace)
    ending = await world.until(lambda p: "deletionTimestamp" in p["metadata"], "pods", "p")
    assert pods.ready(ending)
    await world.until_gone("pods", "p", uid_of(pod))
    assert 3 <= time.monotonic() - began < 10


async def test_a_second_deletion_can_shorten_the_grace_period(world: World) -> None:
    """Somebody loses patience."""
    pod = await pods.start(world, command=pods.STUBBORN, terminationGracePeriodSeconds=60)
    await world.client.delete("pods", "p", world.namespace)
    await world.client.delete("pods", "p", world.namespace, {"gracePeriodSeconds": 1})
    await world.until_gone("pods", "p", uid_of(pod), within=10)


async def test_a_pod_deleted_by_force_is_gone_at_once_and_its_process_soon(world: World) -> None:
    """The object goes first: until its node has noticed, the old process still runs."""
    shared = {"name": "disk", "hostPath": {"path": f"/{world.namespace}"}}
    volume: dict[str, Any] = {
        "volumes": [shared],
        "container": {"volumeMounts": [{"name": "disk", "mountPath": "/disk"}]},
    }
    beating = pods.shell("while :; do date +%s%N >/disk/beat; sleep 0.1; done")
    pod = await pods.start(world, "old", command=beating, **volume)
    await pods.start(world, "witness", **volume)
    await world.client.delete("pods", "old", world.namespace, {"gracePeriodSeconds": 0})
    await world.until_gone("pods", "old", uid_of(pod), within=2)

    async def stands_still() -> bool:
        script = "cat /disk/beat; sleep 0.5; cat /disk/beat"
        result = await execute(world.client, world.namespace, "witness", "sh", "-c", script)
        before, after = result.stdout.split()
        return before == after

    await until(stands_still)


async def test_a_pod_waits_for_its_secret(world: World) -> None:
    """ContainerCreating until the Secret is there."""
    volume = {"name": "certs", "secret": {"secretName": "later"}}
    mount = [{"name": "certs", "mountPath": "/certs"}]
    await pods.create(world, container={"volumeMounts": mount}, volumes=[volume])
    await world.until(lambda pod: pods.waiting_reason(pod) == "ContainerCreating", "pods", "p")
    await world.create("secrets", {"metadata": {"name": "later"}, "stringData": {"ca.crt": "text"}})
    await world.until(pods.ready, "pods", "p")
    result = await execute(world.client, world.namespace, "p", "cat", "/certs/ca.crt")
    assert result.stdout == "text"


async def test_an_image_that_cannot_be_pulled_keeps_the_pod_waiting(world: World) -> None:
    """In the lab the tag `missing` stands for it; the pod can be deleted all the same."""
    pod = await pods.create(world, container={"image": "gcr.io/some/image:missing"})
    await world.until(lambda pod: pods.waiting_reason(pod) == "ImagePullBackOff", "pods", "p")
    await world.client.delete("pods", "p", world.namespace)
    await world.until_gone("pods", "p", uid_of(pod))


async def test_logs_are_kept_per_run(world: World) -> None:
    """The current run's, the previous one's, and the last lines only."""
    script = "echo first; echo second; test -e /scratch/run && exec sleep infinity; touch /scratch/run"
    mounts = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    await pods.create(
        world, command=pods.shell(script), container=mounts, volumes=[{"name": "scratch", "emptyDir": {}}]
    )
    await world.until(lambda pod: pods.restarts(pod) == 1 and pods.ready(pod), "pods", "p")
    path = f"/api/v1/namespaces/{world.namespace}/pods/p/log"

    async def logs(query: str = "") -> str:
        async with world.client.session.get(f"{world.client.server}{path}?{query}") as response:
            return await response.text()

    assert await logs() == "first\nsecond\n"
    assert await logs("tailLines=1") == "second\n"
    assert await logs("previous=true") == "first\nsecond\n"
