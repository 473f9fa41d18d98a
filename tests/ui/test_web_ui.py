"""The Web UI reads like the runbook, and starts a replacement with the README's JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from temporalio.client import Client

from lab.temporal_server import TemporalServer
from replace_etcd import replacements
from replace_etcd.models.orders import Preflighted
from replace_etcd.models.plan import DrainedPod
from tests.cli.conftest import client, script, server, working
from tests.ui.web_ui import web_ui
from tests.workflows.script import PLAN, Script

__all__ = ["client", "script", "server"]

README = (Path(__file__).parents[2] / "README.md").read_text()
ID = "replace-etcd.user-cluster-1"
DRAINED = [
    DrainedPod(namespace="kube-system", name=f"dns-{number}", uid=f"{number}", evict=True)
    for number in range(3)
]


@pytest.mark.needs("chromium")
async def test_from_the_start_form_to_the_end(server: TemporalServer, client: Client, script: Script) -> None:
    found = re.search(r"--input '(\{.*\"failed_replica\".*\})'", README)
    assert found is not None
    asked = json.loads(found[1]) | {"require_approval": True}
    plan = PLAN.model_copy(update={"drained": DRAINED, "actions": ["cordon node node-2"]})
    script.answers["preflight"] = Preflighted(plan=plan)
    async with working(client, script), web_ui(server.ui, height=3000) as ui:  # only rows in sight are drawn
        await ui.fill_in_the_start_form(ID, json.dumps(asked))
        await ui.start()
        await ui.timeline(ID, "preflight for kube-etcd-1 of user-cluster-1", "waits for: approve or decline")
        await ui.details(
            ID,
            "kube-etcd-1 of user-cluster-1",
            "Waits for approval",
            "replace-etcd approve user-cluster-1",
            "--name approve --input",
            "cordon node node-2",
            "The drain evicts: kube-system/dns-0, kube-system/dns-1, kube-system/dns-2",
            "2 of 3",
        )
        run = replacements.handle(client, ID, None)
        await run.execute_update("approve", {"approver": "alice"})
        assert (await run.result()).approved_by == "alice"
        await ui.timeline(ID, "drain node-2: 3 pods to evict", "remove member b1 (kube-etcd-1)")
        await ui.details(ID, "kube-etcd-1 of user-cluster-1: replaced", "✔ cordon node-2")
