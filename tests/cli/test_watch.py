"""`replace-etcd watch`: somebody who comes later sees everything from the beginning, and the outcome's exit code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from temporalio.client import Client

from replace_etcd.cli import runs
from replace_etcd.models.request import ReplacementRequest
from tests.cli.conftest import Terminal, working
from tests.workflows.script import Script


async def test_whoever_comes_later_sees_every_step_and_how_far_it_is(
    client: Client, terminal: Terminal, script: Script, user_cluster: str
) -> None:
    begun = script.block("drain_node", saying="2 of 5 pods gone")
    script.fail("drain_node")
    async with working(client, script):
        await runs.start(client, ReplacementRequest(user_cluster=user_cluster), script.queue)
        await begun.wait()
        process = await terminal.begin("watch", user_cluster)
        assert process.stdout is not None
        lines = [line.decode() async for line in _until(process.stdout, "2 of 5 pods gone")]
        script.release("drain_node")
        rest = await terminal.end(process)
    assert any("done   preflight" in line for line in lines)
    assert "failed drain_node" in rest.out
    assert "rolled_back" in rest.out
    assert (rest.code, rest.err) == (4, "")


async def _until(stream: asyncio.StreamReader, words: str) -> AsyncIterator[bytes]:
    async with asyncio.timeout(60):
        while True:
            line = await stream.readline()
            yield line
            if not line or words in line.decode():
                return


async def test_a_closed_one_tells_its_outcome_without_a_worker(
    client: Client, terminal: Terminal, script: Script, user_cluster: str
) -> None:
    async with working(client, script):
        run = await runs.start(client, ReplacementRequest(user_cluster=user_cluster), script.queue)
        await run.result()
    people, programs = await terminal("watch", user_cluster), await terminal("watch", run.id, "--json")
    assert (people.code, people.err) == (0, "")
    assert "done   verify_replacement" in people.out
    assert programs.json["outcome"] == "replaced"


async def test_without_a_worker_it_says_so_at_once(
    client: Client, terminal: Terminal, user_cluster: str
) -> None:
    run = await runs.start(client, ReplacementRequest(user_cluster=user_cluster), "nobody-polls-this")
    process = await terminal.begin("watch", user_cluster)
    assert process.stderr is not None
    async with asyncio.timeout(60):
        said = (await process.stderr.readline()).decode()
    await run.terminate()
    answer = await terminal.end(process)
    assert said.startswith("replace-etcd: no worker polls the task queue nobody-polls-this")
    assert answer.code == 6
