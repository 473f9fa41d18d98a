"""A real API server that dies, hangs, is too busy or forgets the worker, in the middle: the run goes on by itself.

Nothing is injected: the API server and its etcd are killed and frozen, its priority and fairness refuses, tokens become
void, node agents die. Only what no signal can time (an exec cut in its middle) is done on the wire. Each one ends with
the judge's word (judged.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from activities.dead_node import node_is_ready
from lab.client import LabClient
from lab.options import LabOptions
from replace_etcd.cluster import NODE
from tests.activities.test_api_server import too_busy_for
from tests.attacks.conftest import attack, newer_etcd
from tests.attacks.meddling import Handle, into_the_drain, let_it_drain, nothing_left
from tests.e2e.conftest import REAL, WITHIN, Scene, replaced, scene_of
from tests.e2e.judged import judged
from tests.e2e.test_rbac import ACCOUNT, USER, identity, scene
from tests.lab.nodes.waiting import until
from tests.robustness.proxy import Rule, drop_in_the_middle, on

pytestmark = [pytest.mark.timeout(900), pytest.mark.needs("namespaces")]

STEPS = (
    *("preflight", "claim_replacement_record", "take_node", "back_up_pod_disruption_budget"),
    *("join_existing_on_delete", "cordon_node", "create_utility_pod", "watch_failed_member"),
    *("delete_pod_disruption_budget", "evict_failed_pod", "protect_survivors"),
    *("drain_node", "wait_until_failed_pod_is_gone"),
    *("remove_member", "clean_data_directory", "delete_utility_pod", "add_member", "uncordon_node"),
    *("wait_for_voter", "promote_member", "restore_initial_cluster_state", "restart_replaced_pod"),
    *("restore_update_strategy", "restore_pod_disruption_budget", "verify_replacement"),
    "delete_replacement_record",
)
ALL_WITHIN = 780.0
WORST = ("preflight", "evict_failed_pod", "remove_member", "restart_replaced_pod")


@asynccontextmanager
async def judged_scene(options: LabOptions, directory: Path) -> AsyncIterator[Scene]:
    """A scene whose end is judged."""
    async with scene_of(options, directory) as play, judged(play.lab):
        yield play


async def killed(lab: LabClient) -> None:
    """kill -9 of the API server and, where it has one, of its etcd; both come back with what was stored."""
    real = (await lab.status()).kubernetes != "simulated"
    await lab.control_plane("kill")
    if real:
        await lab.control_plane("kill", "etcd")
        await lab.control_plane("start", "etcd")
    await lab.control_plane("start")


async def at_each(
    play: Scene, handle: Handle, steps: Sequence[str], fault: Callable[[], Awaitable[None]]
) -> set[str]:
    """Let the fault meet each of these steps, once, while it is carried out; those that it met."""
    met: set[str] = set()
    try:
        async with asyncio.timeout(ALL_WITHIN):
            while (now := await play.progress(handle)).outcome is None:
                if now.current and now.current in set(steps) - met:
                    met.add(now.current)
                    await fault()
                await asyncio.sleep(0.02)  # only a query tells
    except TimeoutError:
        raise AssertionError(f"no end: {now.model_dump_json()}; {await failure(handle)}") from None
    return met


async def failure(handle: Handle) -> str:
    """What the last attempt of the step under way failed with; empty where none has."""
    activities = (await handle.describe()).raw_description.pending_activities
    return next((one.last_failure.message for one in activities if one.HasField("last_failure")), "")


async def _has_failed(handle: Handle) -> bool:
    return bool(await failure(handle))


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
@pytest.mark.parametrize("steps", [WORST, STEPS], ids=["the worst steps", "every step"])
async def test_one_that_is_killed_in_the_middle_of_steps(
    tmp_path: Path, kubernetes: str, steps: Sequence[str]
) -> None:
    """A step may end between two looks at it: three of all of them may be missed."""
    async with judged_scene(LabOptions.model_validate({"kubernetes": kubernetes}), tmp_path) as play:
        await play.destroy()
        handle = await play.start()
        met = await at_each(play, handle, steps, lambda: killed(play.lab))
        result = await play.result(handle)
        await nothing_left(play)
        replaced(result, await play.judgement())
    assert len(met) >= len(steps) - 3, set(steps) - met


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
@pytest.mark.parametrize("step", ["join_existing_on_delete", "evict_failed_pod", "remove_member"])
async def test_one_that_hangs_until_an_attempt_has_given_up(
    tmp_path: Path, kubernetes: str, step: str
) -> None:
    """What was under way acts when it goes on, long after its attempt."""
    async with judged_scene(LabOptions.model_validate({"kubernetes": kubernetes}), tmp_path) as play:
        await play.destroy()
        handle = await play.start()
        await play.reach(handle, step)
        await play.lab.control_plane("pause")
        await until(lambda: _has_failed(handle), within=WITHIN)
        await play.lab.control_plane("resume")
        result = await play.result(handle)
        await nothing_left(play)
        replaced(result, await play.judgement())


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
async def test_one_that_answers_slowly(tmp_path: Path, kubernetes: str) -> None:
    """Every answer takes up to a second and a half, from the beginning to the end."""
    async with judged_scene(LabOptions.model_validate({"kubernetes": kubernetes}), tmp_path) as play:
        await play.destroy()
        slowing = asyncio.create_task(_stutter(play.lab))
        try:
            result = await play.result(await play.start())
        finally:
            slowing.cancel()
            await play.lab.control_plane("resume")
        await nothing_left(play)
        replaced(result, await play.judgement())


async def _stutter(lab: LabClient) -> None:
    while True:
        await lab.control_plane("pause")
        await asyncio.sleep(1.5)
        await lab.control_plane("resume")
        await asyncio.sleep(0.3)


@pytest.mark.parametrize("kubernetes", [REAL])
@pytest.mark.parametrize("step", ["preflight", "evict_failed_pod", "remove_member"])
async def test_one_that_is_too_busy_for_the_worker(tmp_path: Path, kubernetes: str, step: str) -> None:
    """Priority and fairness has no seat for it: 429 with Retry-After, for everything but watches under way."""
    async with (
        identity(kubernetes, tmp_path, whole_node=True) as who,
        scene(who, tmp_path) as play,
        judged(play.lab),
    ):
        await play.destroy()
        handle = await play.start()
        await play.reach(handle, step)
        async with too_busy_for(who.admin, "no-seat", USER):
            await until(lambda: _has_failed(handle), within=WITHIN)
            assert "429" in await failure(handle)
        result = await play.result(handle)
        await nothing_left(play)
        replaced(result, await play.judgement())


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
@pytest.mark.parametrize(
    "command",
    ["hashkv", "member.*remove", "member.*add", "/bin/sh"],
    ids=["question of the preflight", "removal", "addition", "script in the utility Pod"],
)
async def test_an_exec_that_is_cut_in_its_middle(tmp_path: Path, kubernetes: str, command: str) -> None:
    """Its command goes on in the container, and nobody hears how it ends."""
    lab = newer_etcd(kubernetes=kubernetes)
    async with attack(tmp_path, lab) as play, judged(play.lab):
        rule = Rule(on(path=rf"/exec\?.*command=[^&]*{command}"), drop_in_the_middle)
        play.on_the_wire(rule)
        await play.destroy()
        result = await play.result(await play.start())
        await nothing_left(play)
        replaced(result, await play.judgement())
    assert rule.met == 1


@pytest.mark.parametrize("kubernetes", ["simulated", REAL])
@pytest.mark.parametrize(("node", "step"), [("node-2", "create_utility_pod"), ("node-1", "promote_member")])
async def test_a_node_agent_that_is_dead_until_its_node_is_not_ready(
    tmp_path: Path, kubernetes: str, node: str, step: str
) -> None:
    """That of the failed replica's node before the removal, that of a survivor's after it; etcd itself serves on."""
    lab = newer_etcd(kubernetes=kubernetes)
    async with judged_scene(lab, tmp_path) as play:
        await play.destroy()
        handle = await play.start()
        await play.reach(handle, step)
        await play.lab.set_agent(node, running=False)
        await until(lambda: _is_silent(play, node), within=WITHIN)
        await play.lab.set_agent(node, running=True)
        result = await play.result(handle)
        await nothing_left(play)
        replaced(result, await play.judgement())


async def _is_silent(play: Scene, name: str) -> bool:
    node = await play.cluster.get(NODE, name)
    assert node is not None
    return not node_is_ready(node)


@pytest.mark.parametrize("kubernetes", [REAL])
async def test_one_that_does_not_know_the_worker_any_more(tmp_path: Path, kubernetes: str) -> None:
    """A token that is void in the middle is one clear sentence; a worker with another one goes on."""
    async with (
        identity(kubernetes, tmp_path, whole_node=True) as who,
        scene(who, tmp_path) as play,
        judged(play.lab),
    ):
        await play.destroy()
        handle = await into_the_drain(play)
        await who.admin.delete("serviceaccounts", ACCOUNT, ACCOUNT)
        await until(lambda: _has_failed(handle), within=WITHIN)
        assert "does not accept this worker's identity: its token has expired" in await failure(handle)
        await play.worker.stop(grace=5.0)
        await who.grant(whole_node=True)
        await play.worker.start()
        await let_it_drain(play)
        result = await play.result(handle)
        await nothing_left(play)
        replaced(result, await play.judgement())
