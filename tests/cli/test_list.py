"""`replace-etcd list` and the shell's completion: what Temporal's store knows, by filters that are data."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from temporalio.client import Client

from replace_etcd.cli import runs
from replace_etcd.cli.exits import CliError
from replace_etcd.cli.listing import Wanted, query_of
from replace_etcd.models.request import ReplacementRequest
from tests.cli.conftest import Terminal, working
from tests.workflows.script import Script

QUOTE = "O'Brien"


async def test_by_every_filter(client: Client, terminal: Terminal, script: Script, user_cluster: str) -> None:
    begun = script.block("drain_node")
    request = ReplacementRequest(user_cluster=user_cluster, incident=QUOTE, requested_by="ann")
    here = Wanted(user_cluster=user_cluster)
    async with working(client, script):
        plan = await runs.start(client, request.model_copy(update={"dry_run": True}), script.queue)
        await plan.result()
        run = await runs.start(client, request, script.queue)
        await begun.wait()
        both = {run.id, plan.id}
        await _until_listed(client, replace(here, outcome="planned"), {plan.id})
        await _until_listed(client, replace(here, running=True), {run.id})
        assert await _listed(client, here) == both
        assert await _listed(client, replace(here, closed=True)) == {plan.id}
        assert await _listed(client, replace(here, plans=False)) == {run.id}
        assert await _listed(client, replace(here, incident=QUOTE)) == both
        assert await _listed(client, replace(here, requested_by="bob")) == set()
        assert await _listed(client, replace(here, since="1h", replica="kube-etcd-1")) == both
        people = await terminal("list", "--user-cluster", user_cluster, "--running")
        async with asyncio.timeout(60):  # it is silent where the machine is too busy to be quick
            while not (completed := await complete(terminal, f"replace-etcd watch {user_cluster[:-1]}")):
                pass
        await run.terminate()
        script.release("drain_node")
    assert re.search(rf"^{run.id} +kube-etcd-1 +{QUOTE} .* \w+ \(running\)$", people.out, re.MULTILINE)
    assert completed == user_cluster
    await _until_listed(client, replace(here, outcome="interrupted"), {run.id})
    programs = await terminal("list", "--user-cluster", user_cluster, "--outcome", "interrupted", "--json")
    assert [item["outcome"] for item in programs.json] == ["interrupted"]


async def _listed(client: Client, wanted: Wanted) -> set[str]:
    return {item.id async for item in client.list_workflows(query_of(wanted, datetime.now(UTC)))}


async def _until_listed(client: Client, wanted: Wanted, ids: set[str]) -> None:
    """The store follows the runs a moment later."""
    async with asyncio.timeout(60):
        while await _listed(client, wanted) != ids:
            pass


async def complete(terminal: Terminal, line: str) -> str:
    """What bash would complete the line to."""
    return (
        await terminal(_REPLACE_ETCD_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD="2")
    ).out.strip()


async def test_completion_is_silent_where_temporal_does_not_answer() -> None:
    assert await complete(Terminal("127.0.0.1:9", "any"), "replace-etcd watch user") == ""


def test_a_filter_is_data() -> None:
    query = query_of(Wanted(incident="\\' OR 1=1"), datetime(2026, 1, 1, tzinfo=UTC))
    assert query == "WorkflowType = 'ReplaceEtcdReplica' AND EtcdIncident = '\\\\\\' OR 1=1'"


def test_a_time_that_is_none_is_a_sentence() -> None:
    with pytest.raises(CliError, match="--since: a time such as 30m"):
        query_of(Wanted(since=os.devnull), datetime(2026, 1, 1, tzinfo=UTC))
