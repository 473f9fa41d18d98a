"""One replacement at a time has a node for itself; whoever comes second waits, and is told."""

import asyncio

from temporalio.testing import ActivityEnvironment

from activities.node import EXCLUSIVE, NodeActivities, holder_of
from replace_etcd.cluster import NODE
from replace_etcd.models.orders import NodeTaken, Order
from replace_etcd.models.phase import Phase
from tests.activities.conftest import Bench


async def holder(bench: Bench) -> str:
    return holder_of(await bench.cluster.get(NODE, bench.pins.node))


async def give_to(bench: Bench, other: str) -> None:
    """Another user cluster's replacement has the node."""
    change = [{"op": "add", "path": "/metadata/annotations", "value": {EXCLUSIVE: other}}]
    await bench.cluster.patch(NODE, bench.pins.node, None, change)


async def test_a_free_node_is_taken_and_given_up_with_the_cordon(bench: Bench) -> None:
    await bench.claim()
    node = NodeActivities(bench.tools)
    taken = await bench.run(node.take_node, bench.order(Order, Phase.WAITING_FOR_NODE))
    assert not taken.waited
    assert await holder(bench) == bench.pins.user_cluster
    await bench.run(node.cordon_node, bench.order(Order, Phase.DRAINING))
    await bench.run(node.uncordon_node, bench.order(Order, Phase.ADDING))
    assert await holder(bench) == ""


async def test_taking_it_twice_is_taking_it_once(bench: Bench) -> None:
    await bench.claim()
    node = NodeActivities(bench.tools)
    for _ in range(2):
        taken = await bench.run(node.take_node, bench.order(Order, Phase.WAITING_FOR_NODE))
        assert not taken.waited


async def test_a_node_that_was_taken_and_not_cordoned_is_given_up_too(bench: Bench) -> None:
    await bench.claim()
    node = NodeActivities(bench.tools)
    await bench.run(node.take_node, bench.order(Order, Phase.WAITING_FOR_NODE))
    await bench.run(node.uncordon_node, bench.order(Order, Phase.ROLLING_BACK))
    assert await holder(bench) == ""


async def test_a_node_of_another_is_waited_for_and_said_to_be(bench: Bench) -> None:
    await bench.claim()
    await give_to(bench, "another-cluster")
    environment, said = ActivityEnvironment(), asyncio.Event()

    def hear(*words: str) -> None:
        if "the replacement of another-cluster has it" in words[0]:
            said.set()

    environment.on_heartbeat = hear
    order = bench.order(Order, Phase.WAITING_FOR_NODE)
    waiting = asyncio.ensure_future(environment.run(NodeActivities(bench.tools).take_node, order))
    await asyncio.wait_for(said.wait(), 30)
    assert await holder(bench) == "another-cluster"
    change = [{"op": "remove", "path": "/metadata/annotations/" + EXCLUSIVE.replace("/", "~1")}]
    await bench.cluster.patch(NODE, bench.pins.node, None, change)
    taken = await asyncio.wait_for(waiting, 30)
    assert isinstance(taken, NodeTaken)
    assert taken.waited
    assert await holder(bench) == bench.pins.user_cluster


async def test_an_uncordon_leaves_the_node_of_another(bench: Bench) -> None:
    await bench.claim()
    await give_to(bench, "another-cluster")
    await bench.run(NodeActivities(bench.tools).uncordon_node, bench.order(Order, Phase.ROLLING_BACK))
    assert await holder(bench) == "another-cluster"
