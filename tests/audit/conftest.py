"""A store on each database, and events to fill it with."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from replace_etcd.audit.events import AuditEvent, EventKind
from replace_etcd.audit.schema import engine_of
from replace_etcd.audit.store import AuditStore
from replace_etcd.models.result import Outcome
from tests.audit import postgres

BEGAN = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'audit.db'}"
    return a_database(request.getfixturevalue("server"))


def a_database(server: str) -> str:
    """A new database on the server."""
    name = f"audit_{uuid.uuid4().hex[:8]}"
    engine = engine_of(server)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def store(url: str) -> Iterator[AuditStore]:
    opened = AuditStore.open(url)
    yield opened
    opened.close()


class Run:
    """One run's events."""

    def __init__(self, run_id: str = "", **about: Any) -> None:
        self.run_id = run_id or str(uuid.uuid4())
        self._about = {"user_cluster": "user-cluster-1", "replica": "kube-etcd-1", **about}
        self.began: datetime = self._about.pop("began", BEGAN)
        self._told = 0

    def event(self, kind: EventKind, outcome: Outcome | None = None, **data: Any) -> AuditEvent:
        """The next one, a second later."""
        self._told += 1
        return AuditEvent(
            run_id=self.run_id,
            workflow_id=f"replace-etcd.{self._about['user_cluster']}",
            key=f"{self._told:04}",
            kind=kind,
            at=self.began + timedelta(seconds=self._told),
            outcome=outcome,
            data=data,
            **self._about,
        )

    def step(self, name: str, **fields: Any) -> AuditEvent:
        """A step that took a second."""
        event = self.event(EventKind.STEP)
        times = {
            "started_at": event.at.isoformat(),
            "finished_at": (event.at + timedelta(seconds=1)).isoformat(),
        }
        return event.model_copy(update={"data": {"name": name, "attempts": 1, **times, **fields}})

    def whole(self, outcome: Outcome = Outcome.REPLACED) -> list[AuditEvent]:
        """From the start to the end."""
        request = {"user_cluster": self._about["user_cluster"], "requested_by": "ann", "incident": "INC-7"}
        return [
            self.event(EventKind.STARTED, request=request),
            self.step("preflight"),
            self.step("drain_node", attempts=3),
            self.event(EventKind.FINISHED, outcome, reason="as told"),
        ]


@pytest.fixture
def a_run() -> Callable[..., Run]:
    return Run
