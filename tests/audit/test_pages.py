"""The pages: they tell the story, need nothing else, and take nothing from anybody as markup."""

import base64
import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from replace_etcd.audit.events import EventKind
from replace_etcd.audit.importing import NoHistory, events_of
from replace_etcd.audit.page import list_page, member_rows, replacement_page
from replace_etcd.audit.timeline import LEFT, lasted, timeline_of, windows
from replace_etcd.audit.views import Page, Story, story_of
from replace_etcd.models.plan import Member
from replace_etcd.models.result import Outcome
from tests.audit.conftest import Run

HISTORIES = Path(__file__).parents[1] / "workflows" / "histories"
EVIL = "<script>alert(1)</script>"


def imported(name: str) -> Story:
    return story_of(events_of((HISTORIES / f"{name}.json").read_text()))


def test_a_page_needs_nothing_else_and_runs_nothing() -> None:
    page = replacement_page(imported("replaced_after_a_hold"))
    assert not re.search(r"<script|<link|<img|\bsrc=|@import|url\((?!#)", page)
    assert "http://" not in page.replace("http://www.w3.org", "")
    for words in (
        "Timeline",
        "no PodDisruptionBudget",
        "no fault tolerance",
        "Members before and after",
        "drain node-2",
    ):
        assert words in page
    assert page.count('class="bar ') == len(imported("replaced_after_a_hold").steps)


def test_what_people_have_written_is_no_markup() -> None:
    run = Run(incident=EVIL)
    events = [
        run.event(EventKind.STARTED, request={"requested_by": EVIL, "reason": EVIL}),
        run.step("drain_node", summary=EVIL, note=EVIL, evidence={EVIL: EVIL}),
        run.event(EventKind.REJECTED, by=EVIL, update=EVIL, why=EVIL),
        run.event(EventKind.FINISHED, Outcome.ROLLED_BACK, reason=EVIL),
    ]
    story = story_of(events)
    for page in (replacement_page(story), list_page(Page(items=[story.replacement]))):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


@pytest.mark.parametrize("path", sorted(HISTORIES.glob("*.json")), ids=lambda path: path.stem)
def test_every_history_that_was_exported_can_be_imported_and_shown(path: Path) -> None:
    story = imported(path.stem)
    expected = re.search(r'"outcome": "(\w+)"', path.read_text())
    assert expected is not None
    assert story.replacement.outcome == expected[1]
    assert story.replacement.user_cluster == "user-cluster-1"
    assert story.steps
    assert not {"stand_guard", "append_audit_events"} & {step.name for step in story.steps}
    assert f"of {story.replacement.user_cluster}" in replacement_page(story)


def test_answers_are_imported_with_who_gave_them() -> None:
    assert imported("replaced_after_approval").replacement.approved_by == "bob"
    (said,) = [event for event in imported("abandoned").events if event.kind is EventKind.RESOLVED]
    assert (said.data["by"], said.data["choice"]) == ("ann", "abandon")


@pytest.mark.parametrize(
    ("kind", "attributes", "says"),
    [
        ("TERMINATED", {"workflowExecutionTerminatedEventAttributes": {"reason": "too slow"}}, "too slow"),
        ("TIMED_OUT", {"workflowExecutionTimedOutEventAttributes": {}}, "the time limit"),
    ],
)
def test_a_run_that_was_ended_from_outside_is_imported_with_its_end(
    kind: str, attributes: dict[str, dict[str, str]], says: str
) -> None:
    history = json.loads((HISTORIES / "planned.json").read_text())
    last = history["events"].pop()
    end = {"eventType": f"EVENT_TYPE_WORKFLOW_EXECUTION_{kind}", **attributes}
    history["events"].append({"eventId": last["eventId"], "eventTime": last["eventTime"], **end})
    end_told = events_of(json.dumps(history))[-1]
    assert (end_told.kind, end_told.outcome) == (EventKind.INTERRUPTED, Outcome.INTERRUPTED)
    assert says in end_told.data["reason"]


@pytest.mark.parametrize("asked", ["5", '["a"]', '{"user_cluster": 5}'])
def test_a_run_that_was_asked_for_in_no_form_of_ours_is_no_traceback(asked: str) -> None:
    history = json.loads((HISTORIES / "planned.json").read_text())
    started = history["events"][0]["workflowExecutionStartedEventAttributes"]
    started["input"]["payloads"][0]["data"] = base64.b64encode(asked.encode()).decode()
    with suppress(NoHistory):
        assert events_of(json.dumps(history))[0].user_cluster is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"events": []}', '{"events": [{"eventId": "1"}]}', "\x00"])
def test_what_is_no_history_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(NoHistory, match="history"):
        events_of(text)


def test_windows_say_what_was_missing_and_for_how_long() -> None:
    run = Run()
    events = [run.event(EventKind.STARTED, request={})]
    events += [
        run.step(name) for name in ("delete_pod_disruption_budget", "evict_failed_pod", "protect_survivors")
    ]
    story = story_of(events)
    budget, tolerance = windows(story, events[-1].at)
    assert (budget.end - budget.begin, budget.is_open) == (timedelta(seconds=3), False)
    assert (tolerance.end - tolerance.begin, tolerance.is_open) == (timedelta(seconds=3), True)


def test_a_wait_ends_with_an_answer_and_not_with_what_an_alert_says_meanwhile() -> None:
    run = Run()
    events = [run.event(EventKind.STARTED, request={}), run.event(EventKind.ASKED, choices=["approve"])]
    events += [run.event(EventKind.ALERT), run.event(EventKind.REJECTED), run.event(EventKind.APPROVED)]
    (wait,) = windows(story_of(events), events[-1].at)
    assert (wait.end - wait.begin, wait.is_open) == (timedelta(seconds=3), False)


def test_a_long_wait_does_not_push_the_steps_together() -> None:
    run = Run()
    events = [run.event(EventKind.STARTED, request={}), run.step("preflight")]
    run.began += timedelta(hours=20)
    events += [run.step(name) for name in ("cordon_node", "drain_node")]
    timeline = timeline_of(story_of(events))
    assert timeline is not None
    assert min(bar.width for bar in timeline.bars) > 50
    assert "20.0 h" in {tick.label for tick in timeline.ticks if tick.gap}
    assert all(bar.x >= LEFT and bar.x + bar.width <= timeline.width for bar in timeline.bars)


def test_the_new_member_is_shown_in_the_row_of_the_old_one() -> None:
    def member(id_: str, name: str, pod: str) -> Member:
        return Member(id=id_, name=name, peer_urls=[f"https://{pod}.kube-etcd:2380"])

    before = [member("a0", "kube-etcd-0", "kube-etcd-0"), member("b1", "kube-etcd-1", "kube-etcd-1")]
    after = [before[0], member("b2", "", "kube-etcd-1")]
    assert [(row.name, row.change) for row in member_rows(before, after)] == [
        ("kube-etcd-0", ""),
        ("kube-etcd-1", "replaced"),
    ]
    assert member_rows(before, [])[0].after == "not recorded"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.24, "0.2 s"), (9, "9 s"), (75, "75 s"), (1800, "30 min"), (2e4, "5.6 h"), (3e5, "3.5 days")],
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert lasted(seconds) == words


def test_an_end_that_nobody_recorded_is_said() -> None:
    run = Run(began=datetime(2026, 1, 1, tzinfo=UTC))
    page = replacement_page(story_of([run.event(EventKind.STARTED, request={}), run.step("preflight")]))
    assert "no end recorded" in page
