"""The audit of real replacements: what it shows of one that was ended from outside, and that its loss stops nothing."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from lab.options import LabOptions
from replace_etcd.audit.page import replacement_page
from replace_etcd.audit.store import AuditStore
from replace_etcd.audit.views import ReplacementView, Story
from replace_etcd.cluster import EVENT, PDB
from replace_etcd.models.result import Outcome
from tests.e2e.conftest import NAMESPACE, WITHIN, replaced, scene_of
from tests.e2e.test_never_worse import BLOCKING

pytestmark = [pytest.mark.needs("namespaces"), pytest.mark.timeout(600)]


def settings(directory: Path, **more: str) -> dict[str, str]:
    audit = f"sqlite:///{directory / 'state' / 'audit.db'}"
    return {"REPLACE_ETCD_AUDIT": audit, "REPLACE_ETCD_JANITOR_INTERVAL_SECONDS": "1", **more}


async def recorded(store: AuditStore, run_id: str, outcome: Outcome) -> Story:
    """The story, once the end is recorded."""
    async with asyncio.timeout(WITHIN):
        while True:
            story = store.show(run_id)
            if story is not None and story.replacement.outcome is outcome:
                return story
            await asyncio.sleep(0.1)


async def command(environment: dict[str, str], *words: str) -> str:
    """`replace-etcd audit`, as people call it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replace_etcd.cli", "audit", *words),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_one_that_was_terminated_in_the_middle_shows_with_what_happened_to_it_and_so_does_the_next(
    tmp_path: Path,
) -> None:
    environment = settings(tmp_path)
    async with scene_of(LabOptions(), tmp_path, **environment) as scene:
        await scene.cluster.create(PDB, BLOCKING, "user-cluster-2")
        await scene.destroy()
        run = await scene.start(incident="INC-77", requested_by="ann")
        await scene.reach(run, "drain_node")
        await run.terminate("by mistake")
        store = AuditStore.open(environment["REPLACE_ETCD_AUDIT"])
        story = await recorded(store, run.first_execution_run_id or "", Outcome.INTERRUPTED)
        assert (story.replacement.incident, story.replacement.requested_by) == ("INC-77", "ann")
        assert "everything is back" in story.replacement.reason
        assert "restore_pod_disruption_budget" in {step.name for step in story.steps if step.by}

        budget = "blocks-the-drain"
        found = await scene.cluster.get(PDB, budget, "user-cluster-2")
        assert found is not None
        await scene.cluster.delete(PDB, budget, "user-cluster-2", uid=found["metadata"]["uid"])
        again = await scene.start(incident="INC-77", requested_by="bob")
        result = await scene.result(again)
        replaced(result, await scene.judgement())
        story = await recorded(store, again.first_execution_run_id or "", Outcome.REPLACED)
        old, new = (
            {member.id for member in members} for members in (story.members_before, story.members_after)
        )
        assert (old - new, new - old) == ({result.old_member_id}, {result.new_member_id})
        assert [step.name for step in story.steps] == [step.name for step in result.steps]

        listed = json.loads(await command(environment, "list", "--incident", "INC-77", "--json"))
        views = [ReplacementView.model_validate(item) for item in listed["items"]]
        assert [view.outcome for view in views] == [Outcome.REPLACED, Outcome.INTERRUPTED]
        assert "the chain holds" in await command(environment, "verify")
        page = tmp_path / "page.html"
        await command(environment, "show", NAMESPACE, "--html", str(page))
        assert page.read_text() == replacement_page(story)
        events = await scene.cluster.find(EVENT, NAMESPACE)
        reasons = [event["reason"] for event in events if event["source"].get("component") == "replace-etcd"]
        assert {"ReplacementDraining", "ReplacementRemoving", "ReplacementReplaced"} <= set(reasons)
        history = await again.fetch_history()
        told = [
            event.activity_task_scheduled_event_attributes.activity_type.name
            for event in history.events
            if event.HasField("activity_task_scheduled_event_attributes")
        ]
        assert told.count("append_audit_events") <= 4
        store.close()


async def test_a_store_out_of_reach_stops_nothing_and_hears_of_it_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the store's folder should be")
    environment = settings(tmp_path)
    async with scene_of(LabOptions(), tmp_path, **environment) as scene:
        await scene.destroy()
        run = await scene.start()
        replaced(await scene.result(run), await scene.judgement())
        (tmp_path / "state").unlink()
        store = AuditStore.open(environment["REPLACE_ETCD_AUDIT"])
        story = await recorded(store, run.first_execution_run_id or "", Outcome.REPLACED)
        assert story.events[0].kind.value == "started"
        assert store.verify().problems == []
        store.close()
