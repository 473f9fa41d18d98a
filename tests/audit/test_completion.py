"""What the janitor's sweep does for the audit: runs that were ended before they held a record get their end."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.audit_log import AuditActivities, complete_audit
from activities.step import Toolbox
from replace_etcd.audit.events import AuditEvent, EventKind
from replace_etcd.audit.keeper import AuditKeeper
from replace_etcd.audit.log import AuditLog
from replace_etcd.audit.page import replacement_page
from replace_etcd.audit.store import AuditStore
from replace_etcd.audit.views import ReplacementView
from replace_etcd.models.orders import AuditOrder
from replace_etcd.models.result import Outcome
from replace_etcd.runs import UntoldEnd
from tests.activities.conftest import IDENTITY, SETTINGS, ScriptedRuns
from tests.audit.conftest import Run

TERMINATED = UntoldEnd(Outcome.INTERRUPTED, "ended from outside")


def tools_of(audit: AuditLog | None, *terminated: str) -> Toolbox:
    runs = ScriptedRuns()
    runs.ends = dict.fromkeys(terminated, TERMINATED)
    runs.ends["not accepted"] = UntoldEnd(Outcome.REFUSED, "no worker takes its input: replica: unknown")
    runs.restored = {"restored"}
    return Toolbox(None, SETTINGS, IDENTITY, runs, audit)  # type: ignore[arg-type]


async def test_only_what_was_ended_from_outside_and_has_no_end_gets_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    keeper = AuditKeeper(url)
    for name in ("terminated", "running", "recorded", "restored", "not accepted"):
        await keeper.append(Run(name, incident="INC-7").whole()[:2])
    await keeper.append(Run("ended").whole())
    just_now = Run("just now", began=datetime.now(UTC))
    await keeper.append(just_now.whole()[:1])
    for _ in range(2):  # each sweep
        tools = tools_of(keeper, "terminated", "ended", "just now", "recorded", "restored")
        await complete_audit(tools, {"recorded"})
    store = AuditStore.open(url)
    ends = {view.run_id: view.outcome for view in store.list().items}
    assert ends == {
        "terminated": Outcome.INTERRUPTED,
        "running": None,
        "ended": Outcome.REPLACED,
        "just now": None,
        "recorded": None,
        "restored": None,
        "not accepted": Outcome.REFUSED,
    }
    assert [event.kind for event in store.events_of("terminated")][-1] is EventKind.INTERRUPTED
    refused = store.show("not accepted")
    assert refused is not None
    assert refused.replacement.reason == "no worker takes its input: replica: unknown"
    assert "replica: unknown" in replacement_page(refused)
    store.close()


class Broken:
    """A store that is out of reach."""

    async def append(self, events: Sequence[AuditEvent]) -> int:
        raise OSError("nobody answers")

    async def unfinished(self, before: datetime) -> Sequence[ReplacementView]:
        raise OSError("nobody answers")


async def test_a_store_out_of_reach_fails_the_delivery_and_not_the_sweep() -> None:
    await ActivityEnvironment().run(complete_audit, tools_of(Broken()))
    order = AuditOrder(events=Run().whole())
    with pytest.raises(OSError, match="nobody answers"):
        await ActivityEnvironment().run(AuditActivities(tools_of(Broken())).append_audit_events, order)
    done = await ActivityEnvironment().run(AuditActivities(tools_of(None)).append_audit_events, order)
    assert done.note.startswith("no audit is kept")
