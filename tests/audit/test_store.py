"""The store: appends once, tells of replacements, and shows every change of the past; on both databases."""

import multiprocessing
import os
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DatabaseError, ProgrammingError

from replace_etcd.audit import grants, schema
from replace_etcd.audit.events import EventKind
from replace_etcd.audit.store import AuditStore, AuditUnavailable, BadCursor, KeyConflict
from replace_etcd.audit.views import Filters
from replace_etcd.models.result import Outcome
from tests.audit import postgres
from tests.audit.conftest import BEGAN, Run


def test_a_repeat_is_known_as_one(store: AuditStore) -> None:
    events = Run().whole()
    assert store.append(events[:2]) == 2
    assert store.append(events) == 2
    assert store.append(events) == 0
    assert list(store.events_of(events[0].run_id)) == events
    assert store.verify().problems == []


def test_a_replacement_is_a_view_of_its_events(store: AuditStore) -> None:
    run = Run(incident="INC-7")
    events = run.whole()
    store.append(events[:3])
    view = store.list().items[0]
    assert (view.outcome, view.finished_at, view.steps) == (None, None, 2)
    store.append(events[3:])
    view = store.list().items[0]
    assert (view.outcome, view.requested_by, view.reason) == (Outcome.REPLACED, "ann", "as told")
    assert view.started_at == events[0].at
    story = store.show(run.run_id)
    assert story is not None
    assert [(step.name, step.attempts) for step in story.steps] == [("preflight", 1), ("drain_node", 3)]


def test_one_that_no_worker_has_begun_shows_who_asked_for_it(store: AuditStore) -> None:
    run = Run()
    store.append([run.event(EventKind.REQUESTED, by="pager", request={"requested_by": "pager"})])
    assert store.list().items[0].requested_by == "pager"


def test_the_last_word_on_an_outcome_counts(store: AuditStore) -> None:
    run = Run()
    store.append(run.whole(Outcome.LEFT_INCOMPLETE))
    store.append([run.event(EventKind.INTERRUPTED, Outcome.INTERRUPTED, reason="put back")])
    assert store.list(Filters(outcome=Outcome.INTERRUPTED)).items[0].reason == "put back"
    assert store.list(Filters(outcome=Outcome.LEFT_INCOMPLETE)).items == []


def test_lists_are_filtered_and_come_in_pages_the_newest_first(store: AuditStore) -> None:
    for number in range(5):
        run = Run(
            f"run-{number}",
            user_cluster=f"user-cluster-{number % 2}",
            incident=f"INC-{number}",
            began=BEGAN + timedelta(hours=number),
        )
        store.append(run.whole(Outcome.PLANNED if number == 4 else Outcome.REPLACED))
    page = store.list(limit=2)
    assert [view.run_id for view in page.items] == ["run-3", "run-2"]
    store.append(Run("run-9", began=BEGAN + timedelta(days=1)).whole())  # what comes meanwhile moves nothing
    page = store.list(limit=2, cursor=page.next_cursor)
    assert ([view.run_id for view in page.items], page.next_cursor) == (["run-1", "run-0"], None)

    def found(**filters: object) -> list[str]:
        return [view.run_id for view in store.list(Filters.model_validate(filters)).items]

    assert found(user_cluster="user-cluster-0") == ["run-2", "run-0"]
    assert found(user_cluster="user-cluster-0", plans=True) == ["run-4", "run-2", "run-0"]
    assert found(outcome="planned") == ["run-4"]
    assert found(incident="INC-3") == ["run-3"]
    assert found(replica="kube-etcd-2") == []
    assert found(since=BEGAN + timedelta(hours=1), until=BEGAN + timedelta(hours=3)) == ["run-2", "run-1"]
    for bad in ("x", "", "djI6MQ", "*" * 90):
        with pytest.raises(BadCursor):
            store.list(cursor=bad)


def test_a_run_is_found_as_people_name_it(store: AuditStore) -> None:
    for run in (Run("aa11-old"), Run("aa22-new")):
        store.append(run.whole())
    assert store.find("replace-etcd.user-cluster-1") == "aa22-new"
    assert store.find("user-cluster-1", "replace-etcd.user-cluster-1") == "aa22-new"
    assert store.find("aa11") == "aa11-old"
    assert store.find("aa") is None, "it could be either"
    assert (store.find("%"), store.find("")) == (None, None)


TAMPERED: dict[str, tuple[str, str]] = {
    "changed": (
        "UPDATE audit_events SET body = '{}' WHERE run_id = 'b' AND number = 3",
        "event 3 (0003): was changed",
    ),
    "changed outcome": (
        "UPDATE audit_events SET outcome = 'refused' WHERE run_id = 'b' AND number = 4",
        "event 4 (0004): was changed",
    ),
    "removed": ("DELETE FROM audit_events WHERE run_id = 'b' AND number = 2", "after event 1 comes 3"),
    "cut": ("DELETE FROM audit_events WHERE run_id = 'b' AND number = 4", "run b: event 4 is missing"),
    "missing run": ("DELETE FROM audit_events WHERE run_id = 'b'", "run b is missing"),
    "missing head": ("DELETE FROM audit_heads WHERE run_id = 'b'", "does not follow the head before it"),
    "changed head": ("UPDATE audit_heads SET number = 3 WHERE run_id = 'b'", "was changed"),
    "reordered": (
        "UPDATE audit_events SET number = CASE number WHEN 2 THEN 3 ELSE 2 END"
        " WHERE run_id = 'b' AND number IN (2, 3)",
        "does not follow the event before it",
    ),
    "added": (
        "INSERT INTO audit_events SELECT 99, run_id, 5, 'x', kind, at, workflow_id, user_cluster, replica, incident,"
        " outcome, body, hash, hash FROM audit_events WHERE run_id = 'b' AND number = 4",
        "event 5 has no head",
    ),
}


@pytest.mark.parametrize("change", list(TAMPERED))
def test_verify_finds_every_change_of_the_past(store: AuditStore, url: str, change: str) -> None:
    for name in "abc":
        store.append(Run(name).whole())
    assert store.verify().problems == []
    engine = schema.engine_of(url)
    statement, expected = TAMPERED[change]
    tamper(engine, statement)
    engine.dispose()
    problems = store.verify().problems
    assert any(expected in problem for problem in problems), problems


def test_a_cut_end_is_found_by_a_head_that_was_noted(store: AuditStore, url: str) -> None:
    store.append(Run("a").whole())
    store.append(Run("b").whole())
    noted = store.verify().head
    engine = schema.engine_of(url)
    for table in ("audit_events", "audit_heads"):
        tamper(engine, f"DELETE FROM {table} WHERE run_id = 'b'")  # noqa: S608 - a name from here
    engine.dispose()
    assert store.verify().problems == [], "nothing in here can tell"
    (problem,) = store.verify(noted).problems
    assert noted in problem


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_what_is_appended_while_it_verifies_is_no_change_of_the_past(store: AuditStore, url: str) -> None:
    store.append(Run("a").whole())
    reading = schema.engine_of(url)

    def append_meanwhile(*execution: object) -> None:
        if "FROM audit_events" in str(execution[2]):
            store.append(Run("b").whole())

    event.listen(reading, "after_cursor_execute", append_meanwhile)
    found = AuditStore(reading).verify()
    reading.dispose()
    assert (found.runs, found.problems) == (1, [])
    assert store.verify().runs == 2


def tamper(engine: Engine, statement: str) -> None:
    """As somebody does who owns the database: in SQLite the triggers go first, in PostgreSQL the order of rows."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            found = connection.execute(
                text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            ).scalars()
            for trigger in list(found):
                connection.execute(text(f"DROP TRIGGER {trigger}"))
        if "CASE" in statement:  # both databases look at uniqueness row by row
            moved = statement.replace("THEN 3 ELSE 2", "THEN 1003 ELSE 1002")
            connection.execute(text(moved))
            connection.execute(text("UPDATE audit_events SET number = number - 1000 WHERE number > 1000"))
        else:
            connection.execute(text(statement))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_refuses_changes_of_what_was_appended(store: AuditStore, url: str) -> None:
    store.append(Run().whole())
    engine = schema.engine_of(url)
    for statement in ("DELETE FROM audit_events", "UPDATE audit_heads SET number = 0"):
        with engine.connect() as connection, pytest.raises(DatabaseError, match="only ever appended to"):
            connection.execute(text(statement))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_in_postgresql_no_role_can_change_what_was_appended(store: AuditStore, url: str) -> None:
    engine = schema.engine_of(url)
    roles = {"worker": "w", "api": "a", "reader": "r"}
    names = {kind: f"{short}_{id(url)}" for kind, short in roles.items()}
    with engine.begin() as connection:
        for name in names.values():
            connection.execute(text(f"CREATE ROLE {name} LOGIN"))
    grants.grant(engine, **names)
    run = Run()
    as_worker, as_api, as_reader = (
        AuditStore.open(url.replace("owner@", f"{name}@")) for name in names.values()
    )
    assert as_worker.append(run.whole()) == 4
    as_api.record_rejected_update(workflow_id="w", run_id=run.run_id, update="approve", by="bob", why="late")
    as_api.remember("key", "token", "digest", "w", "r")
    as_api.claim("other", "token", "digest", "w")
    as_api.release("other")
    assert as_reader.verify().events == 5
    with pytest.raises(AuditUnavailable, match="permission denied"):
        as_reader.append(Run().whole())
    with pytest.raises(AuditUnavailable, match="permission denied"):
        as_worker.claim("key", "token", "digest", "w")
    for name in names.values():
        other = schema.engine_of(url.replace("owner@", f"{name}@"))
        for table in ("audit_events", "audit_heads"):
            for change in ("UPDATE {} SET number = 0", "DELETE FROM {}", "TRUNCATE {}"):
                statement = change.format(table)
                with (
                    other.connect() as connection,
                    pytest.raises(ProgrammingError, match="permission denied"),
                ):
                    connection.execute(text(statement))
        other.dispose()
    for opened in (as_worker, as_api, as_reader):
        opened.close()


def test_what_compose_runs_makes_the_roles_and_the_database(server: str) -> None:
    script = Path(__file__).parents[2] / "deploy" / "compose" / "create-audit.sh"
    passwords = {f"AUDIT_{role}_PASSWORD": f"it's {role}" for role in ("OWNER", "WORKER", "API")}
    path = f"{postgres.binaries()}:{os.environ['PATH']}"
    where = {"PATH": path, "PGHOST": server.partition("host=")[2], "PGUSER": postgres.OWNER}
    for _ in range(2):  # the second time changes nothing
        subprocess.run(["sh", script], env=passwords | where, check=True)
    url = server.replace("owner@/postgres?", "{}@/replace_etcd_audit?")
    engine = schema.engine_of(url.format("replace_etcd_owner"))
    AuditStore.open(url.format("replace_etcd_owner")).close()
    grants.grant(engine, worker="replace_etcd_worker", api="replace_etcd_api", reader=None)
    opened = AuditStore.open(url.format("replace_etcd_worker"))
    assert opened.append(Run().whole()) == 4
    opened.close()
    engine.dispose()


def append_many(url: str, name: str, number: int) -> None:
    """In a process of its own."""
    opened = AuditStore.open(url)
    for count in range(number):
        opened.append(Run(f"{name}-{count}").whole())
    opened.close()


def test_appends_of_several_processes_make_one_chain(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    several = [spawn.Process(target=append_many, args=(url, name, 10)) for name in "abc"]
    for process in several:  # they also migrate at once
        process.start()
    for process in several:
        process.join(60)
    assert [process.exitcode for process in several] == [0, 0, 0]
    opened = AuditStore.open(url)
    found = opened.verify()
    assert (found.runs, found.events, found.problems) == (30, 120, [])
    opened.close()


def test_a_key_starts_one_run_whatever_comes_at_once(store: AuditStore) -> None:
    claims = []

    def ask() -> None:
        claims.append(store.claim("INC-7", "pager", "digest", "plan-etcd.x"))

    several = [threading.Thread(target=ask) for _ in range(8)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert sorted(claim.is_ours for claim in claims) == [False] * 7 + [True]
    store.remember("INC-7", "pager", "digest", "plan-etcd.x", "run-1")
    assert store.remember("INC-7", "pager", "digest", "plan-etcd.x", "run-2").run_id == "run-1"
    again = store.claim("INC-7", "pager", "digest", "plan-etcd.y")
    assert (again.run_id, again.workflow_id, again.is_ours) == ("run-1", "plan-etcd.x", False)
    for other in (("pager", "another"), ("somebody", "digest")):
        with pytest.raises(KeyConflict):
            store.claim("INC-7", *other, "plan-etcd.x")
    store.release("INC-7")
    assert store.recall("INC-7") is not None, "a run is never forgotten"
    assert store.recall("INC-8") is None


def test_a_claim_that_was_refused_or_forgotten_may_be_made_again(
    store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.claim("key", "token", "digest", "w")
    store.release("key")
    assert store.claim("key", "token", "digest", "w").is_ours
    assert not store.claim("key", "token", "digest", "w").is_ours
    monkeypatch.setattr("replace_etcd.audit.idempotency.CLAIM_LASTS", timedelta(0))
    assert store.claim("key", "token", "digest", "w").is_ours


def test_a_claim_that_was_given_up_goes_to_the_next_one_with_its_workflow_id(store: AuditStore) -> None:
    store.claim("key", "token", "digest", "plan-etcd.x")
    store.give_up("key")
    with pytest.raises(KeyConflict):
        store.claim("key", "token", "another", "plan-etcd.y")
    second = store.claim("key", "token", "digest", "plan-etcd.y")
    assert (second.workflow_id, second.is_ours, second.taken_over) == ("plan-etcd.x", True, True)
    assert not store.claim("key", "token", "digest", "plan-etcd.y").is_ours
    store.remember("key", "token", "digest", "plan-etcd.x", "run-1")
    store.give_up("key")
    known = store.claim("key", "token", "digest", "plan-etcd.y")
    assert (known.run_id, known.is_ours) == ("run-1", False)


def test_runs_without_an_end_are_known(store: AuditStore, a_run: Callable[..., Run]) -> None:
    store.append(a_run("ended").whole())
    store.append(a_run("open").whole()[:2])
    assert [view.run_id for view in store.unfinished(BEGAN + timedelta(minutes=1))] == ["open"]
    assert store.unfinished(BEGAN) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mysql://u:secret@h/d", "only sqlite and postgresql"),
        ("nonsense", "is no database URL"),
        ("sqlite:////proc/nowhere/audit.db", "REPLACE_ETCD_AUDIT"),
        ("postgresql://u:secret@127.0.0.1:1/d", "Connection refused"),
    ],
)
def test_a_store_that_cannot_be_used_says_why_without_its_password(given: str, words: str) -> None:
    with pytest.raises(AuditUnavailable, match=words) as caught:
        AuditStore.open(given)
    assert "secret" not in str(caught.value)
