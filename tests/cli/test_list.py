"""`replace-etcd list` and the shell's completion: what Temporal's store knows, by filters that are data."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

import pytest
from temporalio.client import Client

from replace_etcd.cli import runs
from replace_etcd.cli.exits import CliError
from replace_etcd.cli.listing import Wanted, query_of
from replace_etcd.models.request import ReplacementRequest
from tests.cli.conftest import QUEUE, Terminal, working
from tests.workflows.script import Script

QUOTE = "O'Brien \\ AND 1=1"


async def test_by_every_filter(client: Client, terminal: Terminal, script: Script, user_cluster: str) -> None:
    begun = script.block("drain_node")
    request = ReplacementRequest(user_cluster=user_cluster, incident=QUOTE, requested_by="ann")
    async with working(client, script):
        plan = await runs.start(client, request.model_copy(update={"dry_run": True}), QUEUE)
        await plan.result()
        run = await runs.start(client, request, QUEUE)
        await begun.wait()
        here = ("list", "--user-cluster", user_cluster)
        async with asyncio.timeout(60):  # the store follows the runs a moment later
            while len((await terminal(*here, "--json")).json) < 2:
                pass
        answers = {
            filters: {item["workflow_id"] for item in (await terminal(*here, *filters, "--json")).json}
            for filters in (
                ("--running",),
                ("--closed",),
                ("--no-plans",),
                ("--incident", QUOTE),
                ("--outcome", "planned"),
                ("--requested-by", "bob"),
                ("--since", "1h", "--replica", "kube-etcd-1"),
            )
        }
        people, completed = (
            await terminal(*here),
            await complete(terminal, f"replace-etcd watch {user_cluster[:-1]}"),
        )
        await run.terminate()
        script.release("drain_node")
    assert list(answers.values()) == [
        {run.id},
        {plan.id},
        {run.id},
        {run.id, plan.id},
        {plan.id},
        set(),
        {run.id, plan.id},
    ]
    assert "draining (running)" in people.out
    assert completed == user_cluster
    async with asyncio.timeout(60):
        while not (found := (await terminal(*here, "--outcome", "interrupted", "--json")).json):
            pass
    assert [item["outcome"] for item in found] == ["interrupted"]


async def complete(terminal: Terminal, line: str) -> str:
    """What bash would complete the line to."""
    return (
        await terminal(_REPLACE_ETCD_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD="2")
    ).out.strip()


async def test_completion_is_silent_where_temporal_does_not_answer() -> None:
    assert await complete(Terminal("127.0.0.1:9"), "replace-etcd watch user") == ""


def test_a_filter_is_data() -> None:
    query = query_of(Wanted(incident=QUOTE), datetime(2026, 1, 1, tzinfo=UTC))
    assert query == "WorkflowType = 'ReplaceEtcdReplica' AND EtcdIncident = 'O\\'Brien \\\\ AND 1=1'"


def test_a_time_that_is_none_is_a_sentence() -> None:
    with pytest.raises(CliError, match="--since: a time such as 30m"):
        query_of(Wanted(since=os.devnull), datetime(2026, 1, 1, tzinfo=UTC))
