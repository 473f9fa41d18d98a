"""The pod of a dead node is deleted by force on a person's word, and only while nothing speaks against it."""

import asyncio
from typing import Any

import pytest

from activities.dead_node import NODE_LEASES, DeadNodeActivities
from lab.kube_client import KubeClient
from replace_etcd.cluster import LEASE, POD, Object
from replace_etcd.errors import Moved
from replace_etcd.models.orders import Done, NodeDownOrder
from tests.activities.conftest import Bench
from tests.lab.world import World

SILENT_SINCE = "2026-01-01T00:00:00.000000Z"
LATER = "2026-01-01T00:00:10.000000Z"


@pytest.fixture
async def dead(bench: Bench, world: World, client: KubeClient) -> Bench:
    """A node that says that it is not Ready and renews its lease no more, with the failed pod on it."""
    node = bench.pins.node
    lease = {"metadata": {"name": node}, "spec": {"holderIdentity": node, "renewTime": SILENT_SINCE}}
    await client.create("leases", lease, NODE_LEASES)
    await world.node_says(node, ready=False)
    pod = await world.pod(bench.pins.replica, nodeName=node)
    facts = {"pod_uid": pod["metadata"]["uid"], "node_ready": False, "volume_can_move": True}
    bench.pins = bench.pins.model_copy(update={**facts, "node_lease": SILENT_SINCE})
    await bench.claim()
    return bench


async def confirmed(bench: Bench) -> Done:
    """Carry it out: ann has said that the machine is off."""
    order = bench.order(NodeDownOrder, by="ann", reason="power is off")
    return await bench.run(DeadNodeActivities(bench.tools).delete_pod_of_dead_node, order)


async def failed_pod(bench: Bench) -> Object | None:
    return await bench.cluster.get(POD, bench.pins.replica, bench.pins.user_cluster)


async def refused(bench: Bench, words: str) -> None:
    """It is refused, and the pod is untouched."""
    before = await failed_pod(bench)
    with pytest.raises(Moved, match=words):
        await confirmed(bench)
    found = await failed_pod(bench)
    assert found is not None
    assert before is not None
    assert found["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in found["metadata"]


async def test_the_pod_goes_at_once_and_its_successor_is_waited_for(dead: Bench, world: World) -> None:
    """No kubelet is there that could end it: with a grace period it would stand for ever."""
    carrying_out = asyncio.ensure_future(confirmed(dead))
    await dead.cluster.wait_for(
        POD, dead.pins.replica, dead.pins.user_cluster, lambda pod: pod is None, seconds=30
    )
    assert not carrying_out.done()
    elsewhere = await world.node("elsewhere")
    await world.pod(dead.pins.replica, nodeName=elsewhere)
    done = await carrying_out
    assert (
        done.note == f"ann stands for it that {dead.pins.node} is off; {dead.pins.replica} is on {elsewhere}"
    )


async def test_the_word_is_void_once_the_lease_moves(dead: Bench) -> None:
    change: list[dict[str, Any]] = [{"op": "replace", "path": "/spec/renewTime", "value": LATER}]
    await dead.cluster.patch(LEASE, dead.pins.node, NODE_LEASES, change)
    await refused(dead, "has shown a sign of life")


async def test_nothing_is_deleted_by_force_on_a_ready_node(dead: Bench, world: World) -> None:
    await world.node_says(dead.pins.node, ready=True)
    await refused(dead, "has shown a sign of life")


async def test_another_node_under_the_name_is_not_the_one_that_was_meant(dead: Bench) -> None:
    dead.pins = dead.pins.model_copy(update={"node_uid": "another"})
    await refused(dead, "is not the one of the plan")


async def test_a_volume_that_cannot_follow_keeps_its_pod(dead: Bench) -> None:
    dead.pins = dead.pins.model_copy(update={"volume_can_move": False})
    await refused(dead, "only its return helps")


async def test_an_attempt_whose_answer_was_lost_leaves_the_successor_alone(dead: Bench) -> None:
    uid = "00000000-0000-0000-0000-000000000000"
    successor = await failed_pod(dead)
    dead.pins = dead.pins.model_copy(update={"pod_uid": uid})
    await confirmed(dead)
    assert await failed_pod(dead) == successor
