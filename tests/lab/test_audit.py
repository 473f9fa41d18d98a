"""The audit log: one line for each request, whoever asked and however it ended; a change with its body."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lab.control_plane import ControlPlane
from lab.pki import AdminPki
from tests.lab.conftest import KINDS, make_control_plane
from tests.lab.world import World

Json = dict[str, Any]


@pytest.fixture
def audit_log(tmp_path: Path) -> Path:
    """The file that the API server writes."""
    return tmp_path / "audit.log"


@pytest.fixture(params=KINDS)
async def control_plane(
    request: pytest.FixtureRequest, tmp_path: Path, pki: AdminPki, audit_log: Path
) -> AsyncIterator[ControlPlane]:
    """A control plane that keeps an audit log."""
    made = make_control_plane(request.param, tmp_path, pki, audit_log=audit_log)
    await made.start()
    yield made
    await made.stop()


async def test_changes_are_recorded_with_their_body_and_answer(world: World, audit_log: Path) -> None:
    await world.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    await world.refused(409, world.create("configmaps", {"metadata": {"name": "c"}}))
    await world.get("configmaps", "c")
    ours = entries_about(audit_log, "configmaps", world.namespace)
    assert [(entry["verb"], entry["responseStatus"]["code"]) for entry in ours] == [
        ("create", 201),
        ("create", 409),
        ("get", 200),
    ]
    assert "requestObject" not in ours[2]
    assert ours[0]["user"]["username"] == "admin"
    assert ours[0]["requestObject"]["data"] == {"a": "1"}


def entries_about(audit_log: Path, resource: str, namespace: str) -> list[Json]:
    """The entries about one kind of object in one namespace."""
    entries = [json.loads(line) for line in audit_log.read_text().splitlines()]
    wanted = {"resource": resource, "namespace": namespace}
    return [entry for entry in entries if wanted.items() <= entry.get("objectRef", {}).items()]
