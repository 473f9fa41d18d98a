"""The README's pictures of the Web UI, from a replacement on a lab: `make screenshots` writes them to docs/images/."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from rich.console import Console

from lab.options import LabOptions
from replace_etcd import replacements
from replace_etcd.cli.demo.stage import staged
from replace_etcd.cli.views import Narrator
from tests.ui.web_ui import web_ui

IMAGES = Path(__file__).parents[2] / "docs" / "images"
USER_CLUSTER = "user-cluster-1"
ID = f"replace-etcd.{USER_CLUSTER}"
ASKED = {
    "user_cluster": USER_CLUSTER,
    "failed_replica": "kube-etcd-1",
    "incident": "INC-77",
    "require_approval": True,
}
# The user's words first, then the plan: the window is as high as both.
TALL = 1250


async def take() -> None:
    """Destroy a member, start its replacement from the form, approve it, and take a picture at each stop."""
    narrator = Narrator(Console(highlight=False))
    async with (
        staged(LabOptions(), "replace-etcd", narrator) as stage,
        web_ui(stage.temporal.ui, height=TALL) as ui,
    ):
        await stage.until_worker_polls()
        await stage.lab.destroy("kube-etcd-1", "corrupt-wal")
        await ui.fill_in_the_start_form(ID, json.dumps(ASKED))
        await ui.start()
        await ui.picture(IMAGES / "start-form.png")
        await ui.timeline(ID, "waits for: approve or decline")
        await ui.details(ID, "replace-etcd approve user-cluster-1", "Verdicts")
        await ui.picture(IMAGES / "waiting-for-approval.png")
        run = replacements.handle(stage.client, ID, None)
        await run.execute_update("approve", {"approver": "alice"})
        narrator.say((await run.result()).outcome.value)
        await ui.timeline(ID, "verify: 3 voters")
        await ui.picture(IMAGES / "timeline.png")
        await ui.details(ID, "kube-etcd-1 of user-cluster-1: replaced")
        await ui.picture(IMAGES / "replaced.png")


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    asyncio.run(take())
