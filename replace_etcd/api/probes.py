"""`/healthz`, `/readyz`, `/metrics`: for what runs the API, without a token."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from replace_etcd.api.health import Health, Readiness
from replace_etcd.api.problems import documented
from replace_etcd.api.services import Given

router = APIRouter(tags=["probes"], responses=documented(429))


@router.get("/healthz", summary="Whether the process serves")
async def healthz() -> dict[str, str]:
    """Nothing else is looked at: to start it anew would mend nothing else."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Whether a start would lead to anything",
    responses={503: {"model": Readiness, "description": "something is missing"}},
)
async def readyz(request: Request, services: Given, response: Response) -> Readiness:
    """Temporal answers, a worker polls its task queue, the audit store answers."""
    state = request.app.state
    if not hasattr(state, "health"):
        state.health = Health(services)
    health: Health = state.health
    seen = await health.look()
    response.status_code = 200 if seen.ready else 503
    return seen


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(services: Given) -> Response:
    """No name of a user cluster, a token or a person is in them."""
    return services.metrics.page()
