"""What the benchmarks make of what they saw: windows, waits, requests, tables, the picture; the stories are made up."""

import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import audit, drawing, tables, windows
from benchmarks.models import Machine, Replacements, Span, Walk
from benchmarks.witness import Life, Seen
from lab.fixture.names import NAMESPACE
from lab.models import Member

HERE = Machine(
    processor="one",
    cores=2,
    memory_gib=8,
    kernel="6",
    python="3.11",
    temporal="1",
    measured_at=datetime(2026, 1, 1, tzinfo=UTC),
    load=0,
)


def member(identity: str, *, started: bool = True, learner: bool = False) -> Member:
    return Member(id=identity, name=identity if started else "", started=started, learner=learner)


WHOLE = [member("a"), member("b"), member("c")]
REJOINED = [member("a"), member("b"), member("d")]


def test_a_budget_that_goes_twice_has_two_windows_and_one_that_stays_away_ends_with_the_walk() -> None:
    changes = [(0.0, True), (12.0, False), (15.0, True), (18.0, False)]
    found = windows.without_budget(changes, begin=10, end=20)
    assert [(span.begin, span.end) for span in found] == [(2, 5), (8, 10)]


def test_without_tolerance_from_the_removal_until_three_voters_are_started() -> None:
    listed = [member("a"), member("b"), member("d", started=False)]
    learning = [member("a"), member("b"), member("d", learner=True)]
    lists = [(10.0, WHOLE), (12.0, WHOLE[:2]), (13.0, listed), (14.0, learning), (16.0, REJOINED)]
    spans, never = windows.without_tolerance(lists, "c", begin=10, end=30)
    assert [(span.begin, span.end) for span in spans] == [(2, 6)]
    assert not never


def test_three_voters_that_never_come_are_no_short_window() -> None:
    spans, never = windows.without_tolerance([(10.0, WHOLE), (12.0, WHOLE[:2])], "c", begin=10, end=30)
    assert [(span.begin, span.end) for span in spans] == [(2, 20)]
    assert never


def test_waits_are_those_of_the_pods_not_of_whoever_waited() -> None:
    seen = Seen()
    seen.lives["1"] = Life("kube-etcd-2", NAMESPACE, "node-3", ending=20, gone=21)
    seen.lives["2"] = Life("kube-etcd-2", NAMESPACE, "node-3", scheduled=30, ready=33, ending=36, gone=37)
    seen.lives["3"] = Life("kube-etcd-2", NAMESPACE, "node-3", scheduled=37, ready=40)
    seen.lives["4"] = Life("etcd-utility-2", NAMESPACE, "node-3", created=15, ready=16, ending=24, gone=26)
    seen.lives["5"] = Life("kube-apiserver-0", NAMESPACE, "node-3", ending=21, gone=22)
    seen.members = [(0, WHOLE), (22, WHOLE[:2]), (34, REJOINED)]
    assert windows.waits(seen, "kube-etcd-2", "etcd-utility-2", "node-3") == {
        "eviction of the failed pod": 1,
        "eviction of the node's other pods": 1,
        "start of the utility Pod": 1,
        "end of the utility Pod": 2,
        "start and catch-up of the new member": 4,
        "restart with its old flag": 4,
    }


def event(agent: str, uri: str, second: int, stage: str = "ResponseComplete", **more: object) -> str:
    moment = f"2026-01-01T00:00:{second:02d}.000000Z"
    given = {"userAgent": agent, "requestURI": uri, "verb": "get", "stage": stage, **more}
    return json.dumps(given | {"requestReceivedTimestamp": moment, "stageTimestamp": moment})


def test_requests_are_counted_by_their_client_and_a_watch_once(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    pods = {"resource": "pods", "subresource": "exec", "name": "kube-etcd-0"}
    add = "/api/v1/exec?container=c&command=etcdctl&command=member&command=add"
    lines = [
        event("kubectl/v1.34", "/api/v1/pods", 1, objectRef={"resource": "pods"}),
        event(
            "OpenAPI-Generator/37", "/w", 2, "ResponseStarted", auditID="w", objectRef={"resource": "pods"}
        ),
        event("OpenAPI-Generator/37", "/w", 2, auditID="w", objectRef={"resource": "pods"}),
        event("OpenAPI-Generator/37", add, 3, objectRef=pods),
        event("OpenAPI-Generator/37", add, 7, objectRef=pods),
        event("OpenAPI-Generator/37", "/late", 50),
    ]
    log.write_text("\n".join(lines) + "\n")
    begin = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    found = audit.requests(log, "openapi-generator", begin, begin + 30)
    assert audit.by_verb(found) == {"exec etcdctl": 2, "get pods": 1}
    assert audit.refused_additions(found) == {"etcd's HealthInterval": 4.0}


def test_probes_side_by_side_are_waited_for_once() -> None:
    def probe(second: float, endpoint: str, seconds: float) -> audit.Request:
        words = ("etcdctl", f"--endpoints={endpoint}", "endpoint", "status")
        return audit.Request("us", "get", "pods/exec", "kube-etcd-0", 101, second, second + seconds, words)

    silent, own = "https://kube-etcd-2.kube-etcd:2379", "https://127.0.0.1:2379"
    found = [
        probe(1, silent, 2),
        probe(1.5, silent, 2),
        probe(1, own, 9),
        probe(5, silent, 1),
        probe(8, silent, 1),
    ]
    assert audit.silent_probes(found, "kube-etcd-2", 0, 7) == 3.5
    assert audit.silent_probes(found, "kube-etcd-0", 0, 7) == 0


def walk(way: str, seconds: float, **fields: object) -> Walk:
    steps = [Span(name="preflight", begin=0, end=seconds / 2)]
    away = [Span(name="no PodDisruptionBudget", begin=0, end=seconds)] if way in "ab" else []
    return Walk.model_validate(
        {"way": way, "seconds": seconds, "steps": steps, "without_budget": away, **fields}
    )


RESULT = Replacements(
    machine=HERE,
    kubernetes="v1",
    etcd="3.5",
    replica="kube-etcd-2",
    fault="corrupt-wal",
    pod_management="OrderedReady",
    database_size=0,
    noop_seconds=[0.05],
    walks=[
        walk("a", 40, never_tolerant=True),
        walk("b", 50, restarts=2),
        walk("c", 20, activities=20, waits={"eviction": 18.0}),
        walk("c", 22, activities=20, waits={"eviction": 18.0}),
        walk("c", 60, activities=20, waits={"eviction": 18.0}),
        walk("d", 18, activities=18),
        walk("e", 1, write_gap=0.1),
    ],
)


def test_the_tables_say_which_goals_are_met() -> None:
    text = tables.replacement(RESULT)
    assert "| (c) / (b), total | 0.4 | 0.44 | **no** |" in text
    assert "| (c) / (b), without PDB | 0.1 | 0.00 | yes |" in text
    assert "| (c) / its own unavoidable waits | 1.15 | 1.16 | **no** |" in text
    assert "never ended in 1 of 1" in text
    assert "22.0 (20.0 to 60.0)" in text or "22 (20 to 60)" in text


def test_the_document_has_a_place_for_every_table() -> None:
    text = tables.DOCUMENT.read_text()
    for name in ("replacement", "fleet", "history", "startup"):
        assert f"<!-- {name} -->" in text
        assert "MADE" in tables.fill(text, {name: "MADE"})


@pytest.mark.parametrize("way", "bcd")
def test_the_picture_shows_the_median_run_of_each_way(way: str) -> None:
    tree = ElementTree.fromstring(drawing.draw(RESULT))  # noqa: S314 - our own
    words = " ".join(element.text or "" for element in tree.iter())
    found = drawing.median_walk(RESULT.walks, way)
    assert found is not None
    assert f"({way})" in words
    assert f"{found.seconds:.1f} s" in words


def test_the_probes_before_the_eviction_are_a_wait_that_nobody_shortens() -> None:
    """The contract asks for them; what the step costs beyond that is Temporal's, and counted there."""
    watched = Span(name="watch_failed_member", begin=2, end=12.25)
    found = tables.unavoidable(RESULT, walk("c", 20, activities=20).model_copy(update={"steps": [watched]}))
    assert sum(found.values()) == pytest.approx(10.2 + 20 * 0.05)
