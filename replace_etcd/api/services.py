"""What the routes work with: built once, in `serve`, and by tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from temporalio.client import Client
from temporalio.service import RPCError

from replace_etcd.api.metrics import Metrics
from replace_etcd.api.problems import unavailable
from replace_etcd.api.settings import ApiSettings
from replace_etcd.api.tokens import TokenFile
from replace_etcd.audit.keeper import AuditKeeper


@dataclass(frozen=True)
class Services:
    """Temporal, the audit store, and how the API is set."""

    client: Client
    audit: AuditKeeper
    settings: ApiSettings
    tokens: TokenFile
    task_queue: str
    metrics: Metrics

    def location(self, run_id: str) -> str:
        """Where a replacement is found."""
        return f"{self.settings.public_url.rstrip('/')}/v1/replacements/{run_id}"


def services(request: Request) -> Services:
    """Those of the application that serves the request."""
    found: Services = request.app.state.services
    return found


Given = Annotated[Services, Depends(services)]


@asynccontextmanager
async def temporal_answers() -> AsyncIterator[None]:
    """What Temporal complains of, as a problem; a workflow that it does not know is the caller's to say, inside."""
    try:
        yield
    except RPCError as error:
        raise unavailable(f"Temporal answers with an error ({error.message}): try again") from error
