"""The API as an ASGI application, a real Temporal server and store, the real workflow with scripted activities."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI
from temporalio.client import Client

from replace_etcd.api import app, tokens
from replace_etcd.api.metrics import Metrics
from replace_etcd.api.services import Services
from replace_etcd.api.settings import ApiSettings
from replace_etcd.api.tokens import TokenFile
from replace_etcd.audit.keeper import AuditKeeper
from tests.cli import conftest as cli
from tests.workflows.script import Script

client = cli.client
script = cli.script
server = cli.server
user_cluster = cli.user_cluster

T = TypeVar("T")
WITHIN = 30.0
PEOPLE = {
    "ann": ["read", "start", "approve"],
    "bob": ["read", "start", "approve"],
    "reader": ["read"],
    "starter": ["start"],
    "monitoring": ["alert"],
}


class Api:
    """One API process as far as its clients can tell, and whatever they need to talk to it."""

    def __init__(self, services: Services, secrets: dict[str, str]) -> None:
        self.services = services
        self.secrets = secrets
        self.app: FastAPI = app.build(services)

    def by(self, name: str | None, **headers: str) -> httpx.AsyncClient:
        """A client that shows the token of that name, or none."""
        if name is not None:
            headers["Authorization"] = f"Bearer {self.secrets[name]}"
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("192.0.2.7", 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers)

    async def get(self, path: str, name: str | None = "ann", **more: Any) -> httpx.Response:
        """GET."""
        async with self.by(name) as http:
            return await http.get(path, **more)

    async def post(
        self, path: str, body: Any = None, name: str | None = "ann", **headers: str
    ) -> httpx.Response:
        """POST JSON."""
        async with self.by(name, **headers) as http:
            return await http.post(path, json=body)

    async def audit(self, run_id: str) -> list[Any]:
        """The events of a run."""
        return await self.services.audit.ask(lambda store: store.events_of(run_id))


class Apis:
    """As many API processes as a test wants, on one store."""

    def __init__(self, client: Client, folder: Path, queue: str, stack: AsyncExitStack) -> None:
        self._client = client
        self._folder = folder
        self._queue = queue
        self._stack = stack
        made = {name: tokens.new_token(name, roles) for name, roles in PEOPLE.items()}
        self.secrets = {name: secret for name, (secret, _) in made.items()}
        self.tokens_file = folder / "tokens"
        self.tokens_file.write_text("".join(f"{kept.line}\n" for _, kept in made.values()))
        self.audit = f"sqlite:///{folder / 'audit.db'}"

    def one(self, *, audit: str | None = None, queue: str | None = None, **settings: Any) -> Api:
        """Another process."""
        usual: dict[str, Any] = {"token_rate_per_minute": 60_000, "address_rate_per_minute": 60_000}
        chosen = ApiSettings(tokens_file=self.tokens_file, **usual | settings)
        keeper = AuditKeeper(self.audit if audit is None else audit)
        self._stack.push_async_callback(keeper.close)
        services = Services(
            self._client, keeper, chosen, TokenFile(chosen.tokens_file), queue or self._queue, Metrics()
        )
        return Api(services, self.secrets)


@pytest.fixture
async def apis(client: Client, tmp_path: Path, script: Script) -> AsyncIterator[Apis]:
    async with AsyncExitStack() as stack:
        yield Apis(client, tmp_path, script.queue, stack)


@pytest.fixture
def api(apis: Apis) -> Api:
    return apis.one()


async def eventually(ask: Callable[[], Awaitable[T | None]]) -> T:
    """What is waited for, within a deadline."""
    async with asyncio.timeout(WITHIN):
        while True:
            if (found := await ask()) is not None:
                return found
            await asyncio.sleep(0.02)


async def standing(api: Api, run_id: str, **wanted: Any) -> dict[str, Any]:
    """Wait until a replacement stands as wanted."""

    told: dict[str, Any] = {}

    async def ask() -> dict[str, Any] | None:
        answer = await api.get(f"/v1/replacements/{run_id}")
        assert answer.status_code == 200, answer.text
        told.update(answer.json())
        return told if all(told[name] == value for name, value in wanted.items()) else None

    try:
        return await eventually(ask)
    except TimeoutError:
        raise AssertionError(f"not {wanted}, but {told}") from None


@asynccontextmanager
async def working(client: Client, script: Any) -> AsyncIterator[None]:
    """A worker while the block runs."""
    async with cli.working(client, script):
        yield
