"""`replace-etcd doctor`: Temporal seen from here, the rest by the worker; at once where there is none."""

from __future__ import annotations

from temporalio.client import Client

from replace_etcd.models.diagnosis import Diagnosed
from replace_etcd.models.plan import Check, Verdict
from tests.cli.conftest import Terminal, working
from tests.workflows.script import Script


def verdicts(checks: list[dict[str, str]]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in checks}


async def test_it_tells_what_the_worker_sees(client: Client, terminal: Terminal, script: Script) -> None:
    missing = Check(
        name="permissions", verdict=Verdict.REFUSE, evidence="missing: patch nodes", way_out="grant it"
    )
    script.answers["diagnose"] = Diagnosed(checks=[missing], host="worker-0", version="0.1.0")
    async with working(client, script):
        people, programs = (
            await terminal("doctor"),
            await terminal("doctor", "--user-cluster", "uc", "--json"),
        )
    assert (people.code, people.err) == (3, "")
    assert "refuse  permissions        missing: patch nodes (grant it)" in people.out
    assert "as seen by the worker 0.1.0 on worker-0" in people.out
    assert verdicts(programs.json["checks"]) == {
        "Temporal": "ok",
        "search attributes": "ok",
        "janitor": "warn",
        "worker": "ok",
        "permissions": "refuse",
    }
    assert script.orders["diagnose"] == {"user_cluster": "uc"}


async def test_where_no_worker_polls_it_says_so_at_once(client: Client, terminal: Terminal) -> None:
    answer = await terminal("doctor", "--json", REPLACE_ETCD_TASK_QUEUE="nobody-polls-this")
    assert answer.code == 1
    assert "no worker polls the task queue nobody-polls-this" in answer.err
    assert verdicts(answer.json["checks"])["worker"] == "refuse"
    assert answer.json["worker"] is None
