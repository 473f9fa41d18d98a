"""The other way over HTTP: Temporal's own API, with the very curl commands of the README."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from lab.temporal_server import TemporalServer
from tests.api.conftest import eventually, working
from tests.workflows.script import Script

README = (Path(__file__).parents[2] / "README.md").read_text()


def commands(server: TemporalServer, user_cluster: str) -> list[str]:
    """Those of the README, for this server and this user cluster."""
    block = re.search(r"```\n(curl --fail-with-body .*?)```", README, re.DOTALL)
    assert block is not None
    text = block[1].replace("http://127.0.0.1:7243", server.http).replace("user-cluster-1", user_cluster)
    return [f"curl --silent{rest}" for rest in re.split(r"^curl", text, flags=re.MULTILINE)[1:]]


async def typed(command: str) -> tuple[int, Any]:
    """What a shell makes of it."""
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    return process.returncode or 0, json.loads(out)


@pytest.mark.needs("curl")
async def test_the_readmes_curl_starts_one_once_and_asks_how_it_stands(
    client: Client, server: TemporalServer, script: Script, user_cluster: str
) -> None:
    start, query = commands(server, user_cluster)
    script.queue = "replace-etcd"  # the README's
    begun = script.block("drain_node")
    async with working(client, script):
        code, first = await typed(start)
        assert (code, first["started"]) == (0, True)
        await begun.wait()
        assert await typed(start) == (0, first)
        code, refused = await typed(start.replace("INC-77", "INC-78"))
        assert (code, "already" in refused["message"]) == (22, True)

        async def draining() -> bool | None:
            _, answer = await typed(query)
            told = answer["queryResult"][0] if isinstance(answer.get("queryResult"), list) else answer
            return True if "draining" in json.dumps(told) else None

        assert await eventually(draining)
        script.release("drain_node")
        result = await client.get_workflow_handle(f"replace-etcd.{user_cluster}").result()
    assert result["outcome"] == "replaced"
