"""`replace-etcd take-over`: a person says what Temporal cannot; what lives is refused."""

from __future__ import annotations

import pytest
from temporalio.client import Client

from replace_etcd.models.restoring import Verdict
from tests.cli.conftest import Terminal, working
from tests.workflows.script import Script
from tests.workflows.test_restore_interrupted import TAKE, found, records

REASON = ("--reason", "its Temporal burnt down", "--requested-by", "ann")


async def test_what_nobody_can_say_is_taken(
    client: Client, terminal: Terminal, script: Script, user_cluster: str
) -> None:
    records(script, found(Verdict.UNKNOWN, user_cluster=user_cluster))
    async with working(client, script):
        answer = await terminal("take-over", user_cluster, *REASON)
    assert (answer.code, answer.err) == (0, "")
    assert "was taken over by hand while draining: its Temporal burnt down (ann)" in answer.out
    assert "restored: restore_pod_disruption_budget" in answer.out
    assert script.orders[TAKE]["by_hand"] == "its Temporal burnt down (ann)"
    described = await client.get_workflow_handle(f"restore-etcd.{user_cluster}").describe()
    assert await described.static_summary() == f"take over {user_cluster} by hand: its Temporal burnt down"


@pytest.mark.parametrize("verdict", [Verdict.RUNNING, Verdict.SUCCEEDED, Verdict.BY_HAND])
async def test_what_lives_is_refused(
    client: Client, terminal: Terminal, script: Script, user_cluster: str, verdict: Verdict
) -> None:
    records(script, found(verdict, user_cluster=user_cluster))
    async with working(client, script):
        answer = await terminal("take-over", user_cluster, *REASON, "--json")
    assert answer.code == 3
    assert f"is {verdict.value}" in answer.err
    assert answer.json["records"][0]["verdict"] == verdict.value
    assert TAKE not in script.calls


async def test_without_a_record_there_is_nothing_to_take(
    client: Client, terminal: Terminal, script: Script, user_cluster: str
) -> None:
    records(script)
    async with working(client, script):
        answer = await terminal("take-over", user_cluster, *REASON)
    assert answer.code == 3
    assert "there is no record of a replacement" in answer.err


async def test_a_janitor_that_is_at_it_keeps_it_out(
    client: Client, terminal: Terminal, script: Script, user_cluster: str
) -> None:
    records(script, found(Verdict.UNKNOWN, user_cluster=user_cluster))
    begun = script.block(TAKE)
    async with working(client, script):
        first = await terminal.begin("take-over", user_cluster, *REASON)
        await begun.wait()
        second = await terminal("take-over", user_cluster, *REASON)
        script.release(TAKE)
        assert (await terminal.end(first)).code == 0
    assert second.code == 3
    assert second.err.startswith(f"replace-etcd: restore-etcd.{user_cluster} runs already (run ")


@pytest.mark.parametrize("reason", [(), ("--reason", " ")])
async def test_a_reason_is_required(terminal: Terminal, user_cluster: str, reason: tuple[str, ...]) -> None:
    answer = await terminal("take-over", user_cluster, *reason)
    assert answer.code == 2
    assert "reason" in answer.err
