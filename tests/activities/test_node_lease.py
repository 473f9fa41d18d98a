"""One replacement at a time has a node for itself; whoever comes second waits, and is told."""

import asyncio

import pytest
from temporalio.testing import ActivityEnvironment

from activities.fencing import fenced
from activities.node import EXCLUSIVE, NodeActivities, give_node_up, holder_of
from activities.step import step
from replace_etcd.cluster import NAMESPACE, NODE
from replace_etcd.models.orders import Done, NodeTaken, Order, UncordonOrder
from replace_etcd.models.phase import Phase
from tests.activities.conftest import Bench


async def holder(bench: Bench) -> str:
    return holder_of(await bench.cluster.get(NODE, bench.pins.node))


async def give_to(bench: Bench, other: str) -> None:
    """Another user cluster's replacement has the node."""
    change = [{"op": "add", "path": "/metadata/annotations", "value": {EXCLUSIVE: other}}]
    await bench.cluster.patch(NODE, bench.pins.node, None, change)


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.ADDING])
async def test_a_free_node_is_taken_and_given_up_with_the_cordon(bench: Bench, phase: Phase) -> None:
    """In whatever phase: the janitor comes with the furthest one of the run that was ended."""
    await bench.claim()
    node = NodeActivities(bench.tools)
    taken = await bench.run(node.take_node, bench.order(Order, Phase.WAITING_FOR_NODE))
    assert not taken.waited
    assert await holder(bench) == bench.pins.user_cluster
    await bench.run(node.cordon_node, bench.order(Order, Phase.DRAINING))
    await bench.run(node.uncordon_node, bench.order(UncordonOrder, phase))
    assert await holder(bench) == ""


async def test_on_the_way_forward_it_is_schedulable_at_once_and_given_up_later(bench: Bench) -> None:
    """The new member's pod is restarted once more: under the cordon of the next it would not come back."""
    await bench.claim()
    node = NodeActivities(bench.tools)
    await bench.run(node.take_node, bench.order(Order, Phase.WAITING_FOR_NODE))
    await bench.run(node.cordon_node, bench.order(Order, Phase.DRAINING))
    await bench.run(node.uncordon_node, bench.order(UncordonOrder, Phase.ADDING, keeps_it=True))
    found = await bench.cluster.get(NODE, bench.pins.node)
    assert found is not None
    assert not found["spec"].get("unschedulable")
    assert await holder(bench) == bench.pins.user_cluster

    @step
    async def give_it_up(order: Order) -> Done:
        async with fenced(bench.tools, order) as attempt:
            await give_node_up(bench.tools, attempt, order.pins)
        return Done()

    await bench.run(give_it_up, bench.order(Order, Phase.RESTORING))
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
    await bench.run(node.uncordon_node, bench.order(UncordonOrder, Phase.ROLLING_BACK))
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
    await bench.run(NodeActivities(bench.tools).uncordon_node, bench.order(UncordonOrder, Phase.ROLLING_BACK))
    assert await holder(bench) == "another-cluster"


async def test_of_two_that_want_a_node_at_once_one_has_it_and_the_other_waits_for_it(bench: Bench) -> None:
    """Both see it free; the patch of the second tests the version that the first has moved."""
    name = f"{bench.pins.user_cluster}-b"
    await bench.cluster.create(
        NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    other = Bench(bench.cluster, bench.pins.model_copy(update={"user_cluster": name}))
    both = {bench.pins.user_cluster: bench, name: other}
    for one in both.values():
        await one.claim()
    taking = {
        user_cluster: asyncio.ensure_future(
            one.run(NodeActivities(one.tools).take_node, one.order(Order, Phase.WAITING_FOR_NODE))
        )
        for user_cluster, one in both.items()
    }
    done, waiting = await asyncio.wait(taking.values(), timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting)) == (1, 1)
    winner = await holder(bench)
    assert taking[winner] in done
    first = both.pop(winner)
    await first.run(NodeActivities(first.tools).uncordon_node, first.order(UncordonOrder, Phase.ROLLING_BACK))
    (loser,) = both
    taken = await taking[loser]
    assert taken.waited
    assert await holder(bench) == loser
