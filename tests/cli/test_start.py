"""`replace-etcd start`: what is sent, what is refused, and what the exit code tells."""

from __future__ import annotations

import asyncio
import re
import signal

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from replace_etcd.models.orders import Preflighted
from replace_etcd.models.plan import DrainedPod
from tests.cli.conftest import Answer, Terminal, working
from tests.workflows.script import PLAN, REFUSING, Script


class Caller:
    """Somebody who replaces kube-etcd-1 of one user cluster."""

    def __init__(self, terminal: Terminal, client: Client, user_cluster: str) -> None:
        self._terminal = terminal
        self._client = client
        self.words = ("start", "--user-cluster", user_cluster, "--replica", "kube-etcd-1")
        self.user_cluster = user_cluster
        self.id = f"replace-etcd.{user_cluster}"

    async def start(self, *words: str, **environment: str) -> Answer:
        """Start it and wait until the command has ended."""
        return await self._terminal(*self.words, *words, **environment)

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        """Start it and go on."""
        return await self._terminal.begin(*self.words, *words)

    async def end(self, process: asyncio.subprocess.Process) -> Answer:
        """Wait until the command has ended."""
        return await self._terminal.end(process)

    @property
    def run(self) -> WorkflowHandle[object, dict[str, object]]:
        """The workflow."""
        return self._client.get_workflow_handle(self.id)


@pytest.fixture
def caller(terminal: Terminal, client: Client, user_cluster: str) -> Caller:
    return Caller(terminal, client, user_cluster)


async def test_a_replacement_is_followed_to_its_end(client: Client, caller: Caller, script: Script) -> None:
    async with working(client, script):
        answer = await caller.start("--watch", "--incident", "INC-7", "--reason", "disk")
    assert (answer.code, answer.err) == (0, "")
    assert "done   preflight" in answer.out
    assert "done   delete_replacement_record" in answer.out
    assert "replaced" in answer.out
    described = await caller.run.describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED
    assert await described.static_summary() == f"replace kube-etcd-1 of {caller.user_cluster} (INC-7)"
    assert "- reason: disk" in (await described.static_details() or "")


async def test_json_is_the_result_with_its_ids(client: Client, caller: Caller, script: Script) -> None:
    async with working(client, script):
        answer = await caller.start("--watch", "--json")
    assert answer.code == 0
    assert (answer.json["workflow_id"], answer.json["outcome"]) == (caller.id, "replaced")
    assert answer.json["steps"][0]["name"] == "preflight"
    assert "done   preflight" in answer.err


async def test_a_plan_is_printed_and_keeps_nobody_out(
    client: Client, caller: Caller, terminal: Terminal, script: Script
) -> None:
    begun = script.block("claim_replacement_record")
    drained = [
        DrainedPod(namespace="kube-system", name="dns-0", uid="u", evict=True),
        DrainedPod(namespace="kube-system", name="agent", uid="v", evict=False, reason="DaemonSet pod"),
    ]
    script.answers["preflight"] = Preflighted(plan=PLAN.model_copy(update={"drained": drained}))
    async with working(client, script):
        assert (await caller.start()).code == 0
        await begun.wait()
        people = await terminal("plan", *caller.words[1:])
        programs = await terminal("plan", *caller.words[1:], "--json")
        script.release("claim_replacement_record")
    assert (people.code, people.err) == (0, "")
    assert "ok      quorum  2 of 3\n" in people.out
    assert re.search(r"^evicts +kube-system/dns-0", people.out, re.MULTILINE)
    assert re.search(r"^leaves +kube-system/agent +DaemonSet pod", people.out, re.MULTILINE)
    assert programs.json["workflow_id"].startswith(f"plan-etcd.{caller.user_cluster}.")
    assert programs.json["outcome"] == "planned"


@pytest.mark.parametrize("command", ["plan", "start --watch"])
async def test_a_refusal_says_why_and_exits_3(
    client: Client, caller: Caller, terminal: Terminal, script: Script, command: str
) -> None:
    script.answers["preflight"] = Preflighted(plan=REFUSING)
    async with working(client, script):
        answer = await terminal(*command.split(), *caller.words[1:])
    assert answer.code == 3
    assert "refuse  quorum  1 of 3 (recover it)\n" in answer.out
    assert "nothing was changed" in answer.out


@pytest.mark.parametrize(
    ("step", "kind", "code", "outcome"),
    [("drain_node", "Invalid", 4, "rolled_back"), ("verify_replacement", "LockLost", 6, "left_incomplete")],
)
async def test_the_exit_code_tells_the_outcome(
    client: Client, caller: Caller, script: Script, step: str, kind: str, code: int, outcome: str
) -> None:
    script.fail(step, kind)
    async with working(client, script):
        answer = await caller.start("--watch", "--json")
    assert (answer.code, answer.json["outcome"]) == (code, outcome)
    assert f"failed {step}" in answer.err


@pytest.mark.parametrize(
    ("how", "code", "outcome"), [("cancel", 5, "cancelled"), ("terminate", 6, "interrupted")]
)
async def test_a_run_that_is_ended_from_outside_has_its_exit_code(
    client: Client, caller: Caller, script: Script, how: str, code: int, outcome: str
) -> None:
    begun = script.block("drain_node")
    async with working(client, script):
        process = await caller.begin("--watch")
        await begun.wait()
        await getattr(caller.run, how)()
        answer = await caller.end(process)
        script.release("drain_node")
    assert (answer.code, answer.err) == (code, "")
    assert outcome in answer.out


async def test_a_second_one_is_refused_in_a_sentence(client: Client, caller: Caller, script: Script) -> None:
    begun = script.block("drain_node")
    async with working(client, script):
        assert (await caller.start()).code == 0
        await begun.wait()
        answer = await caller.start()
        script.release("drain_node")
    assert answer.code == 3
    assert answer.err.startswith(f"replace-etcd: {caller.id} runs already (run ")
    assert f"replace-etcd watch {caller.user_cluster}" in answer.err
    assert answer.out == ""


async def test_where_nobody_works_it_says_so_at_once(caller: Caller) -> None:
    answer = await caller.start("--json", REPLACE_ETCD_TASK_QUEUE="nobody-polls-this")
    assert answer.code == 0
    assert "no worker polls the task queue nobody-polls-this" in answer.err
    assert answer.json["workflow_id"] == caller.id
    described = await caller.run.describe()
    assert described.run_id == answer.json["run_id"]


async def test_to_stop_following_does_not_stop_the_replacement(
    client: Client, caller: Caller, script: Script
) -> None:
    begun = script.block("drain_node")
    async with working(client, script):
        process = await caller.begin("--watch")
        await begun.wait()
        process.send_signal(signal.SIGINT)
        answer = await caller.end(process)
        script.release("drain_node")
        async with asyncio.timeout(30):
            result = await caller.run.result()
    assert answer.code == 130
    assert answer.err == "replace-etcd: no longer followed; a replacement that was started goes on\n"
    assert result["outcome"] == "replaced"
