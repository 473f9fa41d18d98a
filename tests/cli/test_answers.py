"""`approve`, `decline`, `resolve`, `abort`, `confirm-node-down`: taken, or refused in a sentence."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateRPCTimeoutOrCancelledError

from lab.temporal_server import TemporalServer
from replace_etcd import replacements
from replace_etcd.cli import answering, runs
from replace_etcd.cli.exits import CliError, Exit
from replace_etcd.models.orders import Preflighted
from replace_etcd.models.request import ReplacementRequest, Word
from tests.cli.conftest import Terminal, working
from tests.workflows.script import PINS, PLAN, Script

NODE_DOWN = PLAN.model_copy(
    update={"pins": PINS.model_copy(update={"node_ready": False, "volume_can_move": True})}
)


async def waiting(
    client: Client, script: Script, user_cluster: str, for_: str, *, require_approval: bool = False
) -> replacements.Handle:
    """A replacement that waits for people."""
    request = ReplacementRequest(user_cluster=user_cluster, require_approval=require_approval)
    run = await runs.start(client, request, script.queue)
    async with asyncio.timeout(30):
        while True:
            seen = await replacements.progress(run)
            if seen is not None and seen.waiting_for == for_:
                return run


@pytest.mark.parametrize(
    ("words", "outcome", "code", "said"),
    [
        (("approve", "--by", "alice"), "replaced", 0, ""),
        (("decline", "--by", "bob", "--comment", "not now"), "declined", 3, "declined by bob: not now"),
        (("abort", "--by", "eve", "--reason", "wrong one"), "cancelled", 5, ""),
    ],
)
async def test_one_that_waits_for_approval_hears(
    client: Client,
    terminal: Terminal,
    script: Script,
    user_cluster: str,
    words: tuple[str, ...],
    outcome: str,
    code: int,
    said: str,
) -> None:
    async with working(client, script):
        run = await waiting(client, script, user_cluster, "approval", require_approval=True)
        script.requests_cancellation_of = run
        answer = await terminal(words[0], user_cluster, *words[1:])
        ended = await terminal("watch", user_cluster, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert f"replace-etcd watch {user_cluster}" in answer.out
    assert (ended.code, ended.json["outcome"]) == (code, outcome)
    assert said in ended.json["reason"]
    if outcome == "replaced":
        assert ended.json["approved_by"] == "alice"


async def test_one_that_holds_is_resolved(
    client: Client, terminal: Terminal, script: Script, user_cluster: str
) -> None:
    script.fail("add_member")
    async with working(client, script):
        await waiting(client, script, user_cluster, "resolve")
        refused = await terminal("approve", user_cluster)
        taken = await terminal("resolve", "abandon", user_cluster, "--by", "ann", "--reason", "tomorrow")
        ended = await terminal("watch", user_cluster, "--json")
    assert refused.code == 3
    assert (
        "does not wait for approve: it is held; it can be told: resolve retry, resolve abandon" in refused.err
    )
    assert taken.code == 0
    assert (ended.code, ended.json["outcome"]) == (6, "left_incomplete")
    assert "abandoned by ann: tomorrow" in ended.json["reason"]


async def test_a_dead_node_is_confirmed_with_a_reason_only(
    client: Client, terminal: Terminal, script: Script, user_cluster: str
) -> None:
    script.answers["preflight"] = Preflighted(plan=NODE_DOWN)
    async with working(client, script):
        run = await waiting(client, script, user_cluster, "node")
        silent = await terminal("confirm-node-down", user_cluster)
        script.answers["preflight"] = Preflighted(plan=PLAN)
        taken = await terminal("confirm-node-down", user_cluster, "--by", "ann", "--reason", "power is off")
        await run.result()
    assert silent.code == 2
    assert "--reason" in silent.err
    assert taken.code == 0
    assert script.orders["delete_pod_of_dead_node"]["reason"] == "power is off"


async def test_nothing_is_sent_where_nobody_can_hear_it(
    client: Client, terminal: Terminal, user_cluster: str
) -> None:
    run = await runs.start(client, ReplacementRequest(user_cluster=user_cluster), "nobody-polls-this")
    deaf = await terminal("abort", user_cluster)
    await run.terminate()
    gone = await terminal("abort", user_cluster)
    assert deaf.code == 1
    assert "no worker polls the task queue nobody-polls-this" in deaf.err
    assert "nothing was sent" in deaf.err
    assert gone.code == 3
    assert f"{run.id} does not run any more (terminated)" in gone.err


async def test_what_a_worker_that_has_gone_does_not_hear_ends_in_a_sentence(
    client: Client,
    server: TemporalServer,
    script: Script,
    user_cluster: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Temporal counts a worker for a minute after its end."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(answering, "HEARD_WITHIN", timedelta(seconds=0.5))
    async with working(client, script):
        run = await waiting(client, script, user_cluster, "approval", require_approval=True)
    with pytest.raises(
        CliError, match=r"no worker has heard it within 0\.5 s: it may still be taken"
    ) as ended:
        await answering.answer(user_cluster, "abort", {"by": "ann", "reason": ""})
    assert ended.value.code == Exit.FAILED
    await run.terminate()


class Unheard:
    """A run as the SDK shows one that nobody works for: it calls the server again and again, and no call takes long."""

    id = "replace-etcd.user-cluster-1"

    def __init__(self) -> None:
        self.calls = asyncio.Event()

    async def execute_update(self, *_: object, **__: object) -> None:
        """A cancel is told as if the call had taken too long."""
        self.calls.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise WorkflowUpdateRPCTimeoutOrCancelledError from error


async def test_the_limit_is_that_of_the_answer_and_not_of_each_call() -> None:
    run: Any = Unheard()
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            await replacements.answer(run, "abort", Word(by="ann"), within=timedelta(seconds=0.1))


async def test_a_ctrl_c_is_no_time_limit() -> None:
    run: Any = Unheard()
    sending = asyncio.create_task(
        replacements.answer(run, "abort", Word(by="ann"), within=timedelta(seconds=60))
    )
    await run.calls.wait()
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending
    assert sending.cancelled()
