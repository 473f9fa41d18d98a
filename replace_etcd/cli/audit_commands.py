"""What `replace-etcd audit` does; apart from its options, since this part loads the database."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from replace_etcd.audit import grants, importing, schema
from replace_etcd.audit.page import replacement_page
from replace_etcd.audit.store import AuditStore, AuditUnavailable, BadCursor
from replace_etcd.audit.timeline import lasted
from replace_etcd.audit.views import Filters, Page, ReplacementView, Story
from replace_etcd.cli import runs
from replace_etcd.cli.audit import Wanted
from replace_etcd.cli.exits import CliError, Exit, complain
from replace_etcd.replacements import workflow_id_of

A_PAGE = 200


def show_list(wanted: Wanted, limit: int, cursor: str | None, *, as_json: bool) -> int:
    """One page."""
    with _store() as store:
        try:
            page = store.list(_filters(wanted), limit=limit, cursor=cursor)
        except BadCursor as error:
            raise CliError(f"--cursor: {error}") from None
    if as_json:
        _print(page.model_dump_json(indent=2))
    else:
        _print_list(page)
    return Exit.OK


def show(name: str, html: Path | None, *, as_json: bool) -> int:
    """One replacement."""
    with _store() as store:
        story = store.show(store.find(name, workflow_id_of(name)) or "")
    if story is None:
        raise CliError(
            f"the audit knows no replacement {name}; list them with: replace-etcd audit list --plans"
        )
    if html is not None:
        _write(html, replacement_page(story))
        complain(f"{html} is written")
    elif as_json:
        _print(story.model_dump_json(indent=2))
    else:
        _print_story(story)
    return Exit.OK


def export(wanted: Wanted, form: str, output: Path | None) -> int:
    """Everything that is asked for, page by page."""
    with _store() as store, _target(output) as target:
        views = _all(store, _filters(wanted))
        if form == "csv":
            lines = csv.DictWriter(target, list(ReplacementView.model_fields))
            lines.writeheader()
            lines.writerows(_as_text(view) for view in views)
            return Exit.OK
        for view in views:
            for row in store.rows(view.run_id):
                told = asdict(row)
                target.write(json.dumps(told | {"body": json.loads(row.body)}, ensure_ascii=False) + "\n")
    return Exit.OK


def verify(head: str | None, *, as_json: bool) -> int:
    """Every hash."""
    with _store() as store:
        found = store.verify(head)
    if as_json:
        _print(json.dumps(asdict(found), indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for problem in found.problems:
            console.print(problem, markup=False)
        verdict = f"{len(found.problems)} problems" if found.problems else "the chain holds"
        console.print(f"{found.runs} runs, {found.events} events: {verdict}", markup=False)
        console.print(f"head {found.head}", markup=False)
    return Exit.FAILED if found.problems else Exit.OK


def import_(files: list[Path]) -> int:
    """Each file is one history; what the audit knows already stays as it is."""
    code = Exit.OK
    with _store() as store:
        for file in files:
            try:
                events = importing.events_of(file.read_text())
            except (OSError, UnicodeDecodeError) as error:
                complain(f"{file} cannot be read: {error}")
                code = Exit.BAD_INPUT
                continue
            except importing.NoHistory as error:
                complain(f"{file} {error}")
                code = Exit.BAD_INPUT
                continue
            run_id = events[0].run_id
            known = store.events_of(run_id)
            if known and not known[0].key.startswith("history:"):
                _print(f"{file}: run {run_id} is in the audit already")
            else:
                _print(f"{file}: {store.append(events)} events of run {run_id}")
    return code


def migrate(*, worker: str | None, api: str | None, reader: str | None) -> int:
    """The schema, and who may do what in it."""
    with _complaints():
        engine = schema.engine_of(_url())
        AuditStore.open(_url()).close()
        granted = grants.grant(engine, worker=worker, api=api, reader=reader)
    _print(f"the schema is up to date{''.join(f'; {words}' for words in granted)}")
    return Exit.OK


@contextmanager
def _store() -> Iterator[AuditStore]:
    with _complaints():
        store = AuditStore.open(_url())
        try:
            yield store
        finally:
            store.close()


@contextmanager
def _complaints() -> Iterator[None]:
    try:
        yield
    except AuditUnavailable as error:
        raise CliError(str(error), Exit.FAILED) from None


def _url() -> str:
    url = runs.settings().audit
    if not url:
        raise CliError("no audit is kept: REPLACE_ETCD_AUDIT is empty; name a database in it")
    return url


def _filters(wanted: Wanted) -> Filters:
    try:
        return Filters.model_validate(asdict(wanted))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise CliError(f"--{str(problem['loc'][0]).replace('_', '-')}: {problem['msg']}") from None


def _all(store: AuditStore, filters: Filters) -> Iterator[ReplacementView]:
    cursor = None
    while True:
        page = store.list(filters, limit=A_PAGE, cursor=cursor)
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return


def _as_text(view: ReplacementView) -> dict[str, object]:
    """Free text must not become a formula where a spreadsheet opens it."""
    values = view.model_dump(mode="json")
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
        for name, value in values.items()
    }


@contextmanager
def _target(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", newline="") as file:
            yield file
    except OSError as error:
        raise CliError(f"--output: {error}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise CliError(f"--html: {error}") from None


def _print(text: str) -> None:
    print(text)  # noqa: T201 - for programs: no colours, no wrapping


def _print_list(page: Page) -> None:
    console = Console(highlight=False)
    if not page.items:
        console.print("the audit has none of these")
        return
    table = Table("started (UTC)", "user cluster", "replica", "outcome", "incident", "requested by", "run")
    for view in page.items:
        table.add_row(
            f"{view.started_at:%Y-%m-%d %H:%M:%S}",
            view.user_cluster,
            view.replica or "-",
            _state(view),
            view.incident or "-",
            view.requested_by or "-",
            view.run_id[:8],
        )
    console.print(table)
    if page.next_cursor:
        console.print(f"older ones: --cursor {page.next_cursor}", markup=False)


def _print_story(story: Story) -> None:
    view, console = story.replacement, Console(highlight=False, soft_wrap=True)
    asked = f", requested by {view.requested_by}" if view.requested_by else ""
    approved = f", approved by {view.approved_by}" if view.approved_by else ""
    incident = f", {view.incident}" if view.incident else ""
    head = f"{view.replica or 'the failed replica'} of {view.user_cluster}: {_state(view)}{incident}{asked}{approved}"
    console.print(head, markup=False)
    console.print(f"{view.workflow_id}, run {view.run_id}", markup=False)
    if view.reason:
        console.print(view.reason, markup=False)
    table = Table("UTC", "took", "attempts", "step", "")
    for step in story.steps:
        table.add_row(
            f"{step.started_at:%H:%M:%S}",
            lasted((step.finished_at - step.started_at).total_seconds()),
            str(step.attempts or "-"),
            step.summary or step.name,
            step.error or step.note,
        )
    Console(highlight=False).print(table)
    console.print("one page with everything: --html FILE; for programs: --json", markup=False)


def _state(view: ReplacementView) -> str:
    if view.outcome:
        return view.outcome.value
    return f"waits: {view.waiting_for}" if view.waiting_for else "no end recorded"
