"""docs/api.md against the code: every route, setting, role and kind of problem stands there."""

from __future__ import annotations

import re
from pathlib import Path

from replace_etcd.api.settings import ApiSettings
from replace_etcd.api.tokens import Role
from tests.api.conftest import Api

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "api.md").read_text()
SOURCES = "\n".join(path.read_text() for path in (ROOT / "replace_etcd" / "api").glob("*.py"))


def test_every_setting_role_and_problem_is_in_the_guide() -> None:
    missing = [name.upper() for name in ApiSettings.model_fields if f"{name.upper()}`" not in GUIDE]
    assert not missing
    assert all(f"`{role}`" in GUIDE for role in Role)
    kinds = set(re.findall(r'Problem\(\s*(?:\d{3}|[a-z_.]+),\s*"([a-z-]+)"', SOURCES))
    assert len(kinds) > 10
    assert not [kind for kind in sorted(kinds) if f"`{kind}`" not in GUIDE]


async def test_every_route_is_in_the_guide(api: Api) -> None:
    paths = (await api.get("/openapi.json", None)).json()["paths"]
    for path in paths:
        last = path.replace("{id}", "ID").removeprefix("/v1/replacements/ID")
        assert last in GUIDE, path
