"""The janitor's hands: which records it takes, which it leaves alone, and that two of them never act at once."""

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from temporalio.testing import ActivityEnvironment

from activities.fencing import Attempt
from activities.janitor import JanitorActivities
from activities.node import NodeActivities
from activities.step import Toolbox
from replace_etcd.cluster import CONFIG_MAP, PDB, Object
from replace_etcd.errors import LockLost
from replace_etcd.models.orders import Fence, Order, UncordonOrder
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup
from replace_etcd.models.record import TAKEN_BY_HAND
from replace_etcd.models.restoring import ProtectOrder, Restored, Search, TakenOver, TakeOverOrder, Verdict
from replace_etcd.models.result import Outcome
from replace_etcd.runs import Chain
from tests.activities.conftest import SETTINGS, Bench, now
from tests.activities.test_fencing import is_cordoned, read, write

LONG_AGO = timedelta(days=2)
I = TypeVar("I", bound=BaseModel)  # noqa: E741 - an input
R = TypeVar("R")


def manifest(bench: Bench) -> Object:
    metadata = {"name": "kube-etcd-pdb", "namespace": bench.pins.user_cluster}
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "kube-etcd"}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


class Janitor:
    """One janitor with a run of its own."""

    def __init__(self, bench: Bench, tools: Toolbox | None = None) -> None:
        self.bench = bench
        self.tools = tools or bench.tools
        self.steps = JanitorActivities(self.tools)
        self.run_id = uuid.uuid4().hex
        self.workflow_id = f"restore-etcd.{bench.pins.user_cluster}"

    def fence(self, generation: int = 0, phase: Phase = Phase.ROLLING_BACK) -> Fence:
        return Fence(
            workflow_id=self.workflow_id,
            first_run_id=self.run_id,
            run_id=self.run_id,
            generation=generation,
            phase=phase,
            heir_of=[self.bench.run_id],
        )

    def order(self, **fields: Any) -> TakeOverOrder:
        cluster = self.bench.pins.user_cluster
        given = {"user_cluster": cluster, "fence": self.fence(), "from_first_run": self.bench.run_id}
        return TakeOverOrder(**(given | fields))

    async def take_over(self, **fields: Any) -> TakenOver:
        return await self.run(self.steps.take_over_record, self.order(**fields))

    async def judge(self) -> Restored:
        found = await self.run(
            self.steps.find_interrupted_replacements, Search(user_cluster=self.bench.pins.user_cluster)
        )
        (record,) = found.records
        return record

    async def protect(self) -> str:
        order = ProtectOrder(user_cluster=self.bench.pins.user_cluster, why="a test")
        done = await self.run(self.steps.protect_stuck_replacement, order)
        return str(done.note)

    async def run(self, activity: Callable[[I], Awaitable[R]], order: I) -> R:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, workflow_id=self.workflow_id)
        done: R = await asyncio.wait_for(environment.run(activity, order), 60)
        return done


@pytest.fixture
async def interrupted(bench: Bench) -> Bench:
    """A replacement that has claimed its record and cordoned the node, and whose run is closed."""
    await bench.claim()
    await bench.run(NodeActivities(bench.tools).cordon_node, bench.order(Order, Phase.DRAINING))
    await write(bench, backup=Backup(manifest=manifest(bench)))
    bench.runs.states[bench.run_id] = Chain.CLOSED
    return bench


@pytest.mark.parametrize(
    ("chain", "verdict"),
    [
        (Chain.CLOSED, Verdict.INTERRUPTED),
        (Chain.RUNNING, Verdict.RUNNING),
        (Chain.SUCCEEDED_BY, Verdict.SUCCEEDED),
        (Chain.UNKNOWN, Verdict.UNKNOWN),
    ],
)
async def test_the_verdict_is_what_its_temporal_says(
    interrupted: Bench, chain: Chain, verdict: Verdict
) -> None:
    interrupted.runs.states[interrupted.run_id] = chain
    found = await Janitor(interrupted).judge()
    assert (found.verdict, found.phase, found.replica) == (verdict, Phase.DRAINING, "kube-etcd-1")
    assert found.first_run_id == interrupted.run_id


async def test_an_earlier_run_of_its_own_id_is_closed(interrupted: Bench) -> None:
    """A janitor that was terminated left a record under this very id: the one that runs under it is the next."""
    interrupted.runs.states[interrupted.run_id] = Chain.SUCCEEDED_BY
    janitor = Janitor(interrupted)
    await write(interrupted, workflow_id=janitor.workflow_id)
    assert (await janitor.judge()).verdict is Verdict.INTERRUPTED
    await janitor.take_over()


async def test_what_the_run_before_a_reset_has_taken_is_gone_on_with(interrupted: Bench) -> None:
    """Its late attempt took the record over when the reset run had not looked yet: else nobody would go on."""
    janitor = Janitor(interrupted)
    await janitor.take_over()
    interrupted.runs.states[janitor.fence().first_run_id] = Chain.RUNNING
    assert (await janitor.judge()).verdict is Verdict.INTERRUPTED
    assert (await janitor.take_over()).pins == interrupted.pins
    janitor.workflow_id = "a-sweep"
    assert (await janitor.judge()).verdict is Verdict.RUNNING


async def test_a_record_with_an_outcome_is_left_to_the_next_start(interrupted: Bench) -> None:
    await write(interrupted, outcome=Outcome.LEFT_INCOMPLETE, reason="abandoned")
    janitor = Janitor(interrupted)
    found = await janitor.judge()
    assert (found.verdict, found.reason) == (Verdict.CONCLUDED, "abandoned")
    with pytest.raises(LockLost, match="has an outcome"):
        await janitor.take_over()


async def test_a_person_may_have_put_back_what_has_an_outcome(interrupted: Bench) -> None:
    """Its member may have recovered: then nothing is left to be replaced, and no next start goes on from there."""
    await write(interrupted, outcome=Outcome.LEFT_INCOMPLETE, reason="abandoned")
    janitor = Janitor(interrupted)
    taken = await janitor.take_over(by_hand="it has recovered")
    assert taken.heir_of == [interrupted.run_id]
    _, record = await read(interrupted)
    assert (record.outcome, record.first_run_id) == (None, janitor.run_id)
    assert record.reason == "taken over by hand: it has recovered; before that: abandoned"
    interrupted.runs.states[janitor.run_id] = Chain.CLOSED
    janitor.workflow_id = "a-sweep"
    found = await janitor.judge()
    assert found.verdict is Verdict.INTERRUPTED, "one that ends on the way is gone on with"
    assert (found.first_run_id, found.run_id) == (janitor.run_id, interrupted.run_id), "as the audit knows it"


async def test_a_record_that_a_person_has_taken_is_left_alone(interrupted: Bench) -> None:
    config_map, _ = await read(interrupted)
    data = config_map["data"] | {TAKEN_BY_HAND: "ann"}
    await interrupted.cluster.replace(CONFIG_MAP, config_map | {"data": data})
    janitor = Janitor(interrupted)
    assert (await janitor.judge()).verdict is Verdict.BY_HAND
    with pytest.raises(LockLost, match="ann"):
        await janitor.take_over(by_hand="because")


@pytest.mark.parametrize("data", [{}, {"record.json": "{"}, {"record.json": '{"phase": "draining"}'}])
async def test_what_cannot_be_read_does_not_keep_the_others_from_being_found(
    interrupted: Bench, data: dict[str, str]
) -> None:
    config_map, _ = await read(interrupted)
    await interrupted.cluster.replace(CONFIG_MAP, config_map | {"data": data})
    assert (await Janitor(interrupted).judge()).verdict is Verdict.UNREADABLE


async def test_every_record_of_the_admin_cluster_is_found(interrupted: Bench) -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "another"}, "data": {}}
    await interrupted.cluster.create(CONFIG_MAP, other, interrupted.pins.user_cluster)
    janitor = Janitor(interrupted)
    found = await janitor.run(janitor.steps.find_interrupted_replacements, Search())
    names = [record.user_cluster for record in found.records]
    assert names.count(interrupted.pins.user_cluster) == 1


async def test_with_the_user_clusters_named_no_right_on_others_is_needed(interrupted: Bench) -> None:
    named = [interrupted.pins.user_cluster, "without-a-record"]
    settings = SETTINGS.model_copy(update={"namespaces": named})
    tools = Toolbox(interrupted.cluster, settings, interrupted.tools.temporal, interrupted.runs)
    janitor = Janitor(interrupted, tools)
    found = await janitor.run(janitor.steps.find_interrupted_replacements, Search())
    assert [record.user_cluster for record in found.records] == named[:1]


async def test_the_heir_may_act_and_the_old_run_may_not(interrupted: Bench) -> None:
    node = NodeActivities(interrupted.tools)
    janitor = Janitor(interrupted)
    taken = await janitor.take_over()
    assert (taken.furthest, taken.heir_of) == (Phase.DRAINING, [interrupted.run_id])
    assert taken.backup == Backup(manifest=manifest(interrupted))
    assert taken.pins == interrupted.pins
    with pytest.raises(LockLost):
        await interrupted.run(node.uncordon_node, interrupted.order(UncordonOrder, Phase.ROLLING_BACK))
    assert await is_cordoned(interrupted)
    await interrupted.run(node.uncordon_node, UncordonOrder(pins=taken.pins, fence=janitor.fence(1)))
    assert not await is_cordoned(interrupted)


async def test_an_answer_that_was_lost_is_given_again(interrupted: Bench) -> None:
    janitor = Janitor(interrupted)
    first = await janitor.take_over()
    again = await janitor.take_over()
    assert (again.heir_of, again.furthest, again.backup) == (first.heir_of, first.furthest, first.backup)


async def test_of_two_janitors_one_is_told_that_it_lost(interrupted: Bench) -> None:
    both = [Janitor(interrupted), Janitor(interrupted)]
    results = await asyncio.gather(*(one.take_over() for one in both), return_exceptions=True)
    lost = [result for result in results if isinstance(result, LockLost)]
    assert len(lost) == 1, results
    _, record = await read(interrupted)
    winner = both[0] if isinstance(results[1], LockLost) else both[1]
    assert record.first_run_id == winner.run_id


@pytest.mark.parametrize("chain", [Chain.RUNNING, Chain.SUCCEEDED_BY, Chain.UNKNOWN])
async def test_a_chain_that_is_not_known_to_be_closed_keeps_its_record(
    interrupted: Bench, chain: Chain
) -> None:
    """Judged closed a moment ago, and reset, or started anew, since."""
    interrupted.runs.states[interrupted.run_id] = chain
    with pytest.raises(LockLost, match="is not closed"):
        await Janitor(interrupted).take_over()
    assert (await read(interrupted))[1].first_run_id == interrupted.run_id


async def test_by_hand_only_what_nobody_can_say_is_taken(interrupted: Bench) -> None:
    janitor = Janitor(interrupted)
    interrupted.runs.states[interrupted.run_id] = Chain.RUNNING
    with pytest.raises(LockLost, match="is not closed: running"):
        await janitor.take_over(by_hand="its Temporal burnt down (ann)")
    interrupted.runs.states[interrupted.run_id] = Chain.UNKNOWN
    await janitor.take_over(by_hand="its Temporal burnt down (ann)")
    _, record = await read(interrupted)
    assert "its Temporal burnt down (ann)" in record.reason


async def test_the_record_of_another_temporal_becomes_one_of_ours(interrupted: Bench) -> None:
    await write(interrupted, temporal_cluster_id="temporal-2")
    interrupted.runs.states[interrupted.run_id] = Chain.UNKNOWN
    await Janitor(interrupted).take_over(by_hand="gone")
    _, record = await read(interrupted)
    assert record.temporal_cluster_id == interrupted.tools.temporal.cluster_id


async def test_it_waits_until_the_last_attempt_of_the_old_run_can_act_no_more(interrupted: Bench) -> None:
    until = now() + timedelta(seconds=2)
    await write(interrupted, attempt="somebody", until=until)
    await Janitor(interrupted).take_over()
    assert now() >= until


async def test_an_attempt_that_wakes_up_late_finds_that_it_lost_the_record(interrupted: Bench) -> None:
    sleeper = Attempt(interrupted.tools, interrupted.order(Order, Phase.DRAINING))

    async def sleep_and_wake() -> None:
        await sleeper.begin()
        await write(interrupted, until=now())
        await Janitor(interrupted).take_over()
        with pytest.raises(LockLost):
            await sleeper.hold()

    await asyncio.wait_for(ActivityEnvironment().run(sleep_and_wake), 60)


async def test_a_record_that_is_gone_is_nothing_to_take(bench: Bench) -> None:
    with pytest.raises(LockLost, match="is gone"):
        await Janitor(bench).take_over()


async def test_a_record_of_another_run_is_not_the_one_that_was_judged(interrupted: Bench) -> None:
    with pytest.raises(LockLost, match="is now of"):
        await Janitor(interrupted).take_over(from_first_run="the-one-before")


async def test_a_record_that_was_lost_and_written_again_gets_its_backup_from_the_temporary_budget(
    interrupted: Bench,
) -> None:
    wanted = manifest(interrupted)
    annotations = {
        "replace-etcd/temporary-budget-of": "x",
        "replace-etcd/instead-of": '{"minAvailable": 2, "selector": {"matchLabels": {"app": "kube-etcd"}}}',
    }
    strict = wanted["spec"] | {"maxUnavailable": 0}
    del strict["minAvailable"]
    temporary = wanted | {"metadata": wanted["metadata"] | {"annotations": annotations}, "spec": strict}
    await interrupted.cluster.create(PDB, temporary, interrupted.pins.user_cluster)
    await write(interrupted, backup=None)
    taken = await Janitor(interrupted).take_over()
    assert taken.backup.manifest is not None
    assert taken.backup.manifest["spec"] == wanted["spec"]


class TestStuck:
    """A record that stands still: nobody's to take, but the survivors get their budget, and the alarm is raised."""

    @pytest.mark.parametrize("chain", [Chain.RUNNING, Chain.SUCCEEDED_BY, Chain.UNKNOWN])
    async def test_a_record_without_progress_is_stuck(self, interrupted: Bench, chain: Chain) -> None:
        interrupted.runs.states[interrupted.run_id] = chain
        await write(interrupted, updated_at=now() - LONG_AGO)
        found = await Janitor(interrupted).judge()
        assert found.verdict is Verdict.STUCK
        assert "draining without progress for 2880 minutes" in found.reason

    async def test_one_that_holds_waits_for_people(self, interrupted: Bench) -> None:
        interrupted.runs.states[interrupted.run_id] = Chain.RUNNING
        await write(interrupted, updated_at=now() - LONG_AGO, phase=Phase.HELD)
        assert (await Janitor(interrupted).judge()).verdict is Verdict.RUNNING

    async def test_one_that_was_interrupted_long_ago_is_restored_all_the_same(
        self, interrupted: Bench
    ) -> None:
        await write(interrupted, updated_at=now() - LONG_AGO)
        assert (await Janitor(interrupted).judge()).verdict is Verdict.INTERRUPTED

    async def test_it_gets_a_budget_where_there_is_none(
        self, interrupted: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = await read(interrupted)
        assert await Janitor(interrupted).protect() == "kube-etcd-pdb is back"
        budget = await interrupted.cluster.get(PDB, "kube-etcd-pdb", interrupted.pins.user_cluster)
        assert budget is not None
        assert budget["spec"] == manifest(interrupted)["spec"]
        assert await read(interrupted) == before, "the record is not taken, and not even touched"
        assert [line.levelname for line in caplog.records if "no progress" in line.message] == ["ERROR"]

    async def test_a_budget_that_stands_is_left_as_it_is(self, interrupted: Bench) -> None:
        other = manifest(interrupted) | {"spec": {"maxUnavailable": 0, "selector": {}}}
        await interrupted.cluster.create(PDB, other, interrupted.pins.user_cluster)
        assert await Janitor(interrupted).protect() == "kube-etcd-pdb is there"
        budget = await interrupted.cluster.get(PDB, "kube-etcd-pdb", interrupted.pins.user_cluster)
        assert budget is not None
        assert budget["spec"]["maxUnavailable"] == 0

    async def test_without_a_backup_there_is_nothing_to_make(self, interrupted: Bench) -> None:
        await write(interrupted, backup=None)
        assert await Janitor(interrupted).protect() == "there is no backup of a budget"
