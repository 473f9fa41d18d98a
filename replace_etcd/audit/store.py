"""The store of the audit: appends events, and tells of replacements. Synchronous; callers in asyncio use a thread."""

from __future__ import annotations

import base64
import builtins
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self

from sqlalchemy import Connection, Engine, RowMapping, Select, func, insert, select, tuple_
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from replace_etcd.audit import chain, idempotency
from replace_etcd.audit.events import AuditEvent, EventKind
from replace_etcd.audit.idempotency import KeyConflict, Remembered
from replace_etcd.audit.schema import (
    AuditUnavailable,
    at_one_moment,
    engine_of,
    events,
    heads,
    migrate,
    one_at_a_time,
)
from replace_etcd.audit.views import Filters, Page, ReplacementView, Story, story_of, view_of
from replace_etcd.models.result import Outcome

__all__ = ["AuditStore", "AuditUnavailable", "BadCursor", "KeyConflict", "Remembered"]

LONGEST_PAGE = 500


class BadCursor(ValueError):
    """A cursor that no page of ours has given."""


class AuditStore:
    """The events of all replacements, and the API's idempotency keys."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Self:
        """Connect and bring the schema up to date; `AuditUnavailable` says in one sentence why it cannot be used."""
        engine = engine_of(url)
        with _sentences(engine):
            migrate(engine)
        return cls(engine)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def append(self, batch: Sequence[AuditEvent]) -> int:
        """Append what is not there yet, by run and key; returns how many were new. All of it, or nothing."""
        with self._writes() as connection:
            one_at_a_time(connection)
            appended = 0
            for run_id in dict.fromkeys(event.run_id for event in batch):
                appended += _append_to_run(
                    connection, run_id, [event for event in batch if event.run_id == run_id]
                )
        return appended

    def record_rejected_update(
        self,
        *,
        workflow_id: str,
        run_id: str,
        update: str,
        by: str,
        why: str,
        said: dict[str, object] | None = None,
    ) -> None:
        """Keep an answer that a replacement did not take: Temporal keeps no trace of it."""
        data = {"update": update, "by": by, "why": why, "said": said or {}}
        event = AuditEvent(
            run_id=run_id,
            workflow_id=workflow_id,
            key=f"rejected:{uuid.uuid4().hex}",
            kind=EventKind.REJECTED,
            at=datetime.now(UTC),
            data=data,
        )
        self.append([event])

    def list(self, filters: Filters | None = None, *, limit: int = 50, cursor: str | None = None) -> Page:
        """A page of replacements, the newest first; `BadCursor` where the cursor is none of ours."""
        runs = _runs(filters or Filters()).subquery()
        begun = tuple_(runs.c.began, runs.c.run_id)
        query = select(runs.c.run_id, runs.c.began).order_by(runs.c.began.desc(), runs.c.run_id.desc())
        if cursor is not None:
            query = query.where(begun < tuple_(*_position(cursor)))
        limit = max(1, min(limit, LONGEST_PAGE))
        with self._reads() as connection:
            found = connection.execute(query.limit(limit + 1)).all()
            items = [_view(connection, row.run_id) for row in found[:limit]]
        more = len(found) > limit
        last = found[limit - 1] if more else None
        return Page(items=items, next_cursor=_cursor(last.began, last.run_id) if last else None)

    def show(self, run_id: str) -> Story | None:
        """The full story of one run; None where there is none."""
        found = self.events_of(run_id)
        return story_of(found) if found else None

    def find(self, *names: str) -> str | None:
        """The run that a person means: a run id or the beginning of one, or the newest run of a workflow id."""
        newest_first = select(events.c.run_id).order_by(events.c.id.desc())
        with self._reads() as connection:
            for name in names:
                newest = newest_first.where(events.c.workflow_id == name).limit(1)
                if found := connection.execute(newest).scalar():
                    return str(found)
            beginning = newest_first.where(events.c.run_id.startswith(names[0], autoescape=True))
            runs = set(connection.execute(beginning).scalars()) if names[0] else set()
        return str(runs.pop()) if len(runs) == 1 else None

    def rows(self, run_id: str) -> Sequence[chain.Row]:
        """The events of one run as they are stored, with their hashes."""
        with self._reads() as connection:
            query = select(events).where(events.c.run_id == run_id).order_by(events.c.number)
            return [chain.Row(**row._mapping) for row in connection.execute(query)]

    def events_of(self, run_id: str) -> builtins.list[AuditEvent]:
        """The events of one run, in their order."""
        with self._reads() as connection:
            return _events(connection, run_id)

    def unfinished(self, before: datetime) -> Sequence[ReplacementView]:
        """Runs of which no end was recorded and that were last heard of before that time."""
        ended = select(events.c.run_id).where(events.c.outcome.is_not(None))
        query = (
            select(events.c.run_id)
            .where(events.c.run_id.not_in(ended))
            .group_by(events.c.run_id)
            .having(func.max(events.c.at) < _text(before))
        )
        with self._reads() as connection:
            return [_view(connection, run_id) for run_id in connection.execute(query).scalars()]

    def verify(self, noted_head: str | None = None) -> chain.Verification:
        """Recompute every hash; with the head of an earlier verification, also whether the end was cut off."""
        with self._reads() as connection:
            at_one_moment(connection)
            rows = connection.execute(select(events).order_by(events.c.run_id, events.c.number))
            found = connection.execute(select(heads).order_by(heads.c.id)).all()
            return chain.verify(
                (chain.Row(**row._mapping) for row in rows),
                [chain.Head(**row._mapping) for row in found],
                noted_head=noted_head,
            )

    def claim(self, key: str, token_name: str, request_digest: str, workflow_id: str) -> Remembered:
        """Before a start: `is_ours` where the caller has to start it, else what the key has started already.

        `KeyConflict` where the key was used for another request.
        """
        with self._writes() as connection:
            return idempotency.claim(connection, key, token_name, request_digest, workflow_id)

    def remember(
        self, key: str, token_name: str, request_digest: str, workflow_id: str, run_id: str
    ) -> Remembered:
        """After a start: which run it is; returns the run that the key stands for, which may be an earlier one."""
        with self._writes() as connection:
            return idempotency.remember(
                connection,
                key=key,
                token_name=token_name,
                request_digest=request_digest,
                workflow_id=workflow_id,
                run_id=run_id,
            )

    def recall(self, key: str) -> Remembered | None:
        """What a key stands for."""
        with self._reads() as connection:
            return idempotency.recall(connection, key)

    def release(self, key: str) -> None:
        """After a start that was refused: the key may be used again."""
        with self._writes() as connection:
            idempotency.release(connection, key)

    def give_up(self, key: str) -> None:
        """After a start of which nobody can tell whether it went through: the next request takes the claim over."""
        with self._writes() as connection:
            idempotency.give_up(connection, key)

    @contextmanager
    def _writes(self) -> Iterator[Connection]:
        with (
            _sentences(self._engine),
            self._engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _reads(self) -> Iterator[Connection]:
        with _sentences(self._engine), self._engine.connect() as connection:
            yield connection


@contextmanager
def _sentences(engine: Engine) -> Iterator[None]:
    """What a database complains of, in one sentence and without its password."""
    place = engine.url.render_as_string(hide_password=True)
    try:
        yield
    except ProgrammingError as error:
        way_out = "run `replace-etcd audit migrate` with the URL of the owner of the tables"
        raise AuditUnavailable(f"the audit store {place} refuses: {_first_line(error)}; {way_out}") from error
    except SQLAlchemyError as error:
        raise AuditUnavailable(
            f"the audit store {place} cannot be used: {_first_line(error)}; REPLACE_ETCD_AUDIT names it"
        ) from error


def _first_line(error: SQLAlchemyError) -> str:
    origin = getattr(error, "orig", None) or error
    return (str(origin).strip().splitlines() or [type(origin).__name__])[0]


def _append_to_run(connection: Connection, run_id: str, batch: Sequence[AuditEvent]) -> int:
    known = set(connection.execute(select(events.c.key).where(events.c.run_id == run_id)).scalars())
    new = {event.key: event for event in batch if event.key not in known}
    if not new:
        return 0
    newest = connection.execute(
        select(events.c.number, events.c.hash)
        .where(events.c.run_id == run_id)
        .order_by(events.c.number.desc())
        .limit(1)
    ).one_or_none()
    number, previous = (newest.number, newest.hash) if newest else (0, chain.BEGINNING)
    position = connection.execute(select(func.max(events.c.id))).scalar() or 0
    rows = []
    for offset, event in enumerate(new.values(), start=1):
        values = _columns(event) | {"id": position + offset, "number": number + offset, "previous": previous}
        previous = chain.event_hash(values)
        rows.append(values | {"hash": previous})
    connection.execute(insert(events), rows)
    _append_head(connection, run_id, number + len(rows), previous)
    return len(rows)


def _append_head(connection: Connection, run_id: str, number: int, newest: str) -> None:
    last = connection.execute(
        select(heads.c.id, heads.c.hash).order_by(heads.c.id.desc()).limit(1)
    ).one_or_none()
    position, previous = (last.id + 1, last.hash) if last else (1, chain.BEGINNING)
    values = {"id": position, "run_id": run_id, "number": number, "event_hash": newest, "previous": previous}
    digest = chain.head_hash(position, run_id, number, newest, previous)
    connection.execute(insert(heads).values(**values, hash=digest))


def _columns(event: AuditEvent) -> dict[str, object]:
    told = event.model_dump(mode="json")
    return told | {"at": _text(event.at), "body": chain.canonical(told.pop("data"))}


def _events(connection: Connection, run_id: str, *, steps: bool = True) -> list[AuditEvent]:
    query = select(events).where(events.c.run_id == run_id).order_by(events.c.number)
    if not steps:
        query = query.where(events.c.kind.not_in([EventKind.STEP, EventKind.PLANNED]))
    return [_event(row._mapping) for row in connection.execute(query)]


def _event(row: RowMapping) -> AuditEvent:
    values = dict(row)
    return AuditEvent.model_validate(values | {"data": json.loads(values["body"])})


def _view(connection: Connection, run_id: str) -> ReplacementView:
    counted = select(func.count()).where(events.c.run_id == run_id, events.c.kind == EventKind.STEP)
    view = view_of(_events(connection, run_id, steps=False) or _events(connection, run_id))
    return view.model_copy(update={"steps": connection.execute(counted).scalar() or 0})


def _runs(filters: Filters) -> Select[tuple[str, str]]:
    """The runs that are asked for, each with the time of its first event."""
    query = select(events.c.run_id, func.min(events.c.at).label("began")).group_by(events.c.run_id)
    for column in (events.c.user_cluster, events.c.replica, events.c.incident):
        if wanted := getattr(filters, column.name):
            query = query.having(func.max(column) == wanted)
    if filters.since:
        query = query.having(func.min(events.c.at) >= _text(filters.since))
    if filters.until:
        query = query.having(func.min(events.c.at) < _text(filters.until))
    if filters.outcome is not None:
        query = query.where(events.c.run_id.in_(_ended_as(filters.outcome)))
    elif not filters.plans:
        query = query.where(events.c.run_id.not_in(_ended_as(Outcome.PLANNED)))
    return query


def _ended_as(outcome: Outcome) -> Select[tuple[str]]:
    """The runs whose last word is that outcome: one that the janitor completes has two."""
    last = select(func.max(events.c.id)).where(events.c.outcome.is_not(None)).group_by(events.c.run_id)
    return select(events.c.run_id).where(events.c.id.in_(last), events.c.outcome == outcome.value)


def _text(moment: datetime) -> str:
    """UTC in a form whose order as text is the order in time."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cursor(began: str, run_id: str) -> str:
    return base64.urlsafe_b64encode(f"v1|{began}|{run_id}".encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[str, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        version, began, run_id = text.split("|", 2)
    except ValueError:
        version = began = run_id = ""
    if version != "v1" or not (began + run_id).isprintable():  # PostgreSQL takes no NUL
        raise BadCursor(
            "this cursor is none that a page of ours has given: leave it out to begin with the newest"
        )
    return began, run_id
