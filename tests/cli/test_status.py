"""`replace-etcd status`: where a replacement stands, with and without a worker, and how it ended."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import Client

from replace_etcd import replacements
from replace_etcd.cli import runs
from replace_etcd.models.request import ReplacementRequest
from tests.cli.conftest import Terminal, working
from tests.workflows.script import Script

NOBODY = "nobody-polls-this"


@pytest.fixture
def request_(user_cluster: str) -> ReplacementRequest:
    """A replacement of this test's user cluster."""
    return ReplacementRequest(user_cluster=user_cluster, failed_replica="kube-etcd-1", requested_by="ann")


async def test_a_running_one_shows_its_steps(
    client: Client, terminal: Terminal, script: Script, request_: ReplacementRequest
) -> None:
    begun = script.block("drain_node", saying="1 of 3 pods gone")
    async with working(client, script):
        run = await runs.start(client, request_, script.queue)
        await begun.wait()
        await _until_it_said_something(run)
        people, programs = (
            await terminal("status", request_.user_cluster),
            await terminal("status", run.id, "--json"),
        )
        script.release("drain_node")
    assert (people.code, people.err) == (0, "")
    assert "phase: draining" in people.out
    assert "done   cordon_node" in people.out
    assert "now: drain_node" in people.out
    assert (programs.json["running"], programs.json["current"]) == (True, "drain_node")
    assert "1 of 3 pods gone" in people.out
    assert (programs.json["attempt"]["number"], programs.json["attempt"]["words"]) == (1, "1 of 3 pods gone")


async def _until_it_said_something(run: replacements.Handle) -> None:
    async with asyncio.timeout(30):
        while True:
            attempt = replacements.attempt(await run.describe(), await replacements.progress(run))
            if attempt and attempt.words:
                return


async def test_one_that_waits_says_for_what(
    client: Client, terminal: Terminal, script: Script, user_cluster: str
) -> None:
    waiting = ReplacementRequest(user_cluster=user_cluster, require_approval=True)
    async with working(client, script), asyncio.timeout(30):
        run = await runs.start(client, waiting, script.queue)
        while True:
            seen = await replacements.progress(run)
            if seen is not None and seen.waiting_for:
                break
        answer = await terminal("status", user_cluster)
    assert "waits for approval until 20" in answer.out
    assert f"replace-etcd approve {user_cluster}  carry out this plan" in answer.out
    assert f"replace-etcd decline {user_cluster}  change nothing" in answer.out


async def test_without_a_worker_it_says_so(
    client: Client, terminal: Terminal, request_: ReplacementRequest
) -> None:
    run = await runs.start(client, request_, NOBODY)
    people, programs = (
        await terminal("status", request_.user_cluster),
        await terminal("status", run.id, "--json"),
    )
    assert people.code == 0
    assert f"no worker polls the task queue {NOBODY}" in people.err
    assert "phase: not begun" in people.out
    assert programs.json["worker"] is False


async def test_a_closed_one_shows_how_it_ended_without_a_worker(
    client: Client, terminal: Terminal, script: Script, request_: ReplacementRequest
) -> None:
    script.fail("drain_node")
    async with working(client, script):
        run = await runs.start(client, request_, script.queue)
        assert runs.exit_code(await replacements.ending(run)) == 4
    people, programs = (
        await terminal("status", request_.user_cluster),
        await terminal("status", run.id, "--json"),
    )
    assert (people.code, people.err) == (0, "")
    assert "failed drain_node" in people.out
    assert "rolled_back: drain_node: drain_node went wrong" in people.out
    assert (programs.json["running"], programs.json["outcome"]) == (False, "rolled_back")


async def test_an_unknown_one_is_a_sentence(client: Client, terminal: Terminal) -> None:
    answer = await terminal("status", "user-cluster-9")
    assert answer.code == 2
    assert answer.err.startswith("replace-etcd: Temporal knows no workflow replace-etcd.user-cluster-9")
