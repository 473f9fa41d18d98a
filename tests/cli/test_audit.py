"""`replace-etcd audit`: every answer, and a sentence for whatever is wrong; no Temporal is asked."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner, Result

from replace_etcd.audit.store import AuditStore
from replace_etcd.cli import app
from replace_etcd.cli.options import OutcomeName
from replace_etcd.models.result import Outcome
from tests.audit.conftest import Run

HISTORY = Path(__file__).parents[1] / "workflows" / "histories" / "replaced_after_approval.json"
Audit = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'audit.db'}"


@pytest.fixture
def audit(url: str, monkeypatch: pytest.MonkeyPatch) -> Audit:
    monkeypatch.setenv("REPLACE_ETCD_AUDIT", url)
    monkeypatch.setenv("COLUMNS", "200")
    store = AuditStore.open(url)
    store.append(Run("aaaa1111", incident="INC-1").whole())
    store.append(Run("bbbb2222", incident="=cmd()", user_cluster="user-cluster-2").whole(Outcome.ROLLED_BACK))
    store.append(Run("cccc3333").whole(Outcome.PLANNED))
    store.append(Run("dddd4444", user_cluster="user-cluster-3").whole()[:2])
    store.close()
    return lambda *words: CliRunner().invoke(app, ["audit", *words])


def test_the_outcomes_that_can_be_asked_for_are_those_there_are() -> None:
    assert get_args(OutcomeName) == tuple(outcome.value for outcome in Outcome)


def test_list_shows_all_but_plans_and_takes_filters(audit: Audit) -> None:
    shown = audit("list").stdout
    assert all(
        words in shown for words in ("aaaa1111", "bbbb2222", "no end recorded", "rolled_back", "INC-1")
    )
    assert "cccc3333" not in shown
    assert "cccc3333" in audit("list", "--plans").stdout
    listed = json.loads(audit("list", "--outcome", "rolled_back", "--json").stdout)
    assert [item["run_id"] for item in listed["items"]] == ["bbbb2222"]
    assert "none of these" in audit("list", "--since", "2027-01-01").stdout
    cursor = re.search(r"--cursor (\S+)", audit("list", "--limit", "1").stdout)
    assert cursor is not None
    assert json.loads(audit("list", "--cursor", cursor[1], "--json").stdout)["next_cursor"] is None


def test_show_tells_the_story_for_people_programs_and_post_mortems(audit: Audit, tmp_path: Path) -> None:
    shown = audit("show", "aaaa")
    assert "kube-etcd-1 of user-cluster-1: replaced, INC-1, requested by ann" in shown.stdout
    assert json.loads(audit("show", "user-cluster-2", "--json").stdout)["replacement"]["run_id"] == "bbbb2222"
    page = tmp_path / "page.html"
    assert audit("show", "replace-etcd.user-cluster-2", "--html", str(page)).exit_code == 0
    assert "rolled back" in page.read_text()


def test_export_writes_every_event_with_its_hash_or_a_line_for_each_replacement(
    audit: Audit, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in audit("export", "--incident", "INC-1").stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["started", "step", "step", "finished"]
    assert [line["previous"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    target = tmp_path / "replacements.csv"
    audit("export", "--format", "csv", "--plans", "--output", str(target))
    rows = {row["run_id"]: row for row in csv.DictReader(io.StringIO(target.read_text()))}
    assert {run_id: row["outcome"] for run_id, row in rows.items()}["dddd4444"] == ""
    assert rows["bbbb2222"]["incident"] == "'=cmd()", "no formula where a spreadsheet opens it"


def test_verify_says_what_was_changed_by_its_exit_code_too(audit: Audit, url: str) -> None:
    fine = audit("verify")
    assert (fine.exit_code, "the chain holds" in fine.stdout) == (0, True)
    noted = fine.stdout.split()[-1]
    assert audit("verify", "--head", noted).exit_code == 0
    wrong = audit("verify", "--head", "0" * 63 + "1", "--json")
    assert wrong.exit_code == 1
    assert "that was noted is not there" in json.loads(wrong.stdout)["problems"][0]


def test_import_takes_histories_once_and_names_what_is_none(audit: Audit, tmp_path: Path) -> None:
    for number in ("29", "0"):
        taken = audit("import", str(HISTORY))
        assert (taken.exit_code, f"{number} events of run" in taken.stdout) == (0, True), taken.output
    other = tmp_path / "other.json"
    other.write_text("[]")
    refused = audit("import", str(other), str(tmp_path / "nowhere.json"))
    assert refused.exit_code == 2
    assert "other.json is no exported history" in refused.stderr
    assert "nowhere.json cannot be read" in refused.stderr


@pytest.mark.parametrize(
    ("words", "setting", "expected"),
    [
        (["show", "nobody"], None, "knows no replacement nobody"),
        (["list", "--cursor", "x"], None, "--cursor"),
        (["migrate", "--worker", "w"], None, "roles are PostgreSQL's"),
        (["list"], "", "REPLACE_ETCD_AUDIT is empty"),
        (["list"], "mysql://h/d", "only sqlite and postgresql"),
        (["show", "aaaa", "--html", "/proc/nowhere/x.html"], None, "--html"),
        (["export", "--output", "/proc/nowhere/x"], None, "--output"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, words: list[str], setting: str | None, expected: str
) -> None:
    if setting is not None:
        monkeypatch.setenv("REPLACE_ETCD_AUDIT", setting)
    wrong = audit(*words)
    assert wrong.exit_code in (1, 2)
    assert expected in " ".join(wrong.stderr.split())
    assert "Traceback" not in wrong.output
