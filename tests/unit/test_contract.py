"""The documents tell the truth about names: contract, README and architecture are held to the code, list by list."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from temporalio import workflow

import worker
from replace_etcd import search_attributes, temporal
from replace_etcd.cli.exits import OF_OUTCOME
from replace_etcd.models import diagnosis
from replace_etcd.models.phase import Phase
from replace_etcd.models.request import Limits, ReplacementRequest
from replace_etcd.models.restoring import WORKFLOW_TYPE
from replace_etcd.models.result import Outcome, Progress
from replace_etcd.settings import Settings
from workflows import options
from workflows.conversation import ERROR_TYPES
from workflows.replace_etcd_replica import ReplaceEtcdReplica

ROOT = Path(__file__).parents[2]
CONTRACT = (ROOT / "docs" / "contract.md").read_text()
README = (ROOT / "README.md").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of the same or a higher level."""
    level = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert level is not None, f"no section {title}"
    rest = text[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def sentence(text: str, opening: str) -> str:
    """A list item, or a paragraph, that starts with these words."""
    found = re.search(rf"^(- )?{re.escape(opening)}.*?(?=^- |^$)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"nothing opens with {opening}"
    return found[0]


def activity_names() -> set[str]:
    return {
        name
        for kind in worker.STEPS
        for name in dir(kind)
        if hasattr(getattr(kind, name), "__temporal_activity_definition")
    }


def definition() -> workflow._Definition:
    return workflow._Definition.must_from_class(ReplaceEtcdReplica)


class TestContract:
    OUTCOMES = rows(section(CONTRACT, "Outcomes"))
    NAMES = section(CONTRACT, "Names")

    def test_outcomes(self) -> None:
        assert [quoted(row[0])[0] for row in self.OUTCOMES] == [outcome.value for outcome in Outcome]

    def test_error_types(self) -> None:
        documented = {quoted(row[0])[0]: quoted(row[2])[0] for row in self.OUTCOMES if quoted(row[2])}
        assert documented == {outcome.value: kind for outcome, kind in ERROR_TYPES.items()}

    def test_exit_codes(self) -> None:
        documented = {quoted(row[0])[0]: int(row[3]) for row in self.OUTCOMES}
        assert documented == {outcome: int(code) for outcome, code in OF_OUTCOME.items()}

    def test_phases(self) -> None:
        listed = section(CONTRACT, "Phases").partition("**`removing`")[0].partition(":\n")[2]
        assert quoted(listed) == [phase.value for phase in Phase]

    def test_the_janitor(self) -> None:
        assert WORKFLOW_TYPE in quoted(sentence(self.NAMES, "Workflow types"))
        assert diagnosis.WORKFLOW_TYPE in quoted(sentence(self.NAMES, "Workflow types"))
        assert temporal.SCHEDULE in quoted(sentence(self.NAMES, "The Schedule"))

    def test_workflow_and_where_it_runs(self) -> None:
        assert str(definition().name) in quoted(sentence(self.NAMES, "Workflow types"))
        assert Settings().task_queue in quoted(sentence(self.NAMES, "Task queue"))
        assert Settings().record in quoted(sentence(self.NAMES, "Record"))

    def test_search_attributes(self) -> None:
        documented = quoted(sentence(self.NAMES, "Search attributes"))
        assert documented == [key.name for key in search_attributes.ALL]

    def test_query(self) -> None:
        name, answer = quoted(sentence(self.NAMES, "Query"))
        assert set(definition().queries) == {name}
        assert answer.strip("{}").split(", ") == list(Progress.model_fields)

    def test_updates_and_what_they_take(self) -> None:
        text = sentence(self.NAMES, "Updates")
        documented = {
            one.partition("{")[0]: one.partition("{")[2].strip("}") for one in quoted(text) if "{" in one
        }
        assert set(documented) == set(definition().updates)
        for name, update in definition().updates.items():
            (taken,) = update.arg_types or []
            fields = re.sub(r": [^,]+", "", documented[str(name)]).split(", ")
            assert fields == list(TypeAdapter(taken).json_schema()["properties"])

    def test_limits(self) -> None:
        text = sentence(self.NAMES, "Limits with defaults").partition("`delete_emptydir_data`")[0]
        found = re.findall(r"`(\w+)`\s+(\d+) (h|min)\b", text)
        seconds = {name: int(number) * {"h": 3600, "min": 60}[unit] for name, number, unit in found}
        assert seconds == {name: limit.total_seconds() for name, limit in Limits()}


class TestReadme:
    def test_the_table_from_the_runbook_names_every_step_and_no_other(self) -> None:
        table = [name for row in rows(section(README, "What it does")) for name in quoted(row[1])]
        named = {name for name in table if re.fullmatch(r"[a-z]+(_[a-z]+)+|preflight", name)}
        on_the_way_back = set(options.COMPENSATIONS) - set(options.FORWARD)
        on_the_way_back -= set(options.PAST_THE_POINT_OF_NO_RETURN)
        on_the_way_back |= {*options.JANITOR, *options.LOOKING, *options.TELLING}
        assert named <= activity_names()
        assert named == activity_names() - on_the_way_back

    def test_the_fields_of_the_input(self) -> None:
        documented = [name for row in rows(section(README, "The input")) for name in quoted(row[0])]
        assert set(documented) == set(ReplacementRequest.model_fields)

    def test_the_limits_shown_are_the_defaults(self) -> None:
        (row,) = [row for row in rows(section(README, "The input")) if row[0] == "`limits`"]
        shown = Limits.model_validate_json(quoted(row[2])[0])
        assert shown == Limits()

    def test_outcomes_with_their_errors_and_exit_codes(self) -> None:
        table = [row for row in rows(section(README, "When a step fails")) if quoted(row[0])]
        documented = {outcome: int(row[2]) for row in table for outcome in quoted(row[0])}
        assert documented == {outcome: int(code) for outcome, code in OF_OUTCOME.items()}
        assert {kind for row in table for kind in quoted(row[1])} == set(ERROR_TYPES.values())

    def test_settings(self) -> None:
        table = section(README, "Run it against your own admin cluster").partition("Rights of")[0]
        prefix = Settings.model_config["env_prefix"]
        defaults = {f"{prefix}{name.upper()}": value for name, value in Settings()}
        for names, default, _ in rows(table):
            for name in quoted(names):
                if name.startswith(prefix):
                    assert name in defaults, f"there is no setting {name}"
                    if quoted(default):
                        value = defaults[name]
                        written = f"{value:g}" if isinstance(value, float) else str(value)
                        assert quoted(default)[0] == written


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
class TestEveryDocument:
    def test_its_links_lead_somewhere(self, document: Path) -> None:
        for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            file = (document.parent / path) if path else document
            assert file.exists(), target
            if not anchor:
                continue
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in anchors, target

    def test_the_files_that_it_names_are_there(self, document: Path) -> None:
        for name in quoted(document.read_text()):
            if re.fullmatch(r"(workflows|activities|replace_etcd|tests|lab|docs|deploy)/[\w/.]+\w", name):
                assert (ROOT / name).exists(), name


def test_architecture_lists_every_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rules = section((ROOT / "docs" / "architecture.md").read_text(), "Import rules")
    forbidden = {module for contract in contracts for module in contract["forbidden_modules"]}
    packages = {module.partition(".")[0] for module in forbidden}
    assert not [name for name in packages if name not in rules.lower()]
