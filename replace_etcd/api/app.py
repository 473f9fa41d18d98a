"""Puts the API together: routes, the gate before them, and one form for whatever goes wrong."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from replace_etcd import __version__
from replace_etcd.api import pages, probes, replacement_routes, webhook_routes
from replace_etcd.api.gate import Gate
from replace_etcd.api.problems import Problem, ProblemBody
from replace_etcd.api.services import Services

DESCRIPTION = """Starts, watches and answers replacements of failed etcd members, and takes alerts as reasons to look.

Every answer that is no success is a problem (RFC 9457, `application/problem+json`). A request shows its token as
`Authorization: Bearer TOKEN`; what it may do depends on the token's roles. `docs/api.md` is the guide."""


def build(services: Services) -> FastAPI:
    """The application; the pages of FastAPI's own are left out, since they load scripts from elsewhere."""
    app = FastAPI(
        title="replace-etcd",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.services = services
    for router in (replacement_routes.router, webhook_routes.router, probes.router, pages.router):
        app.include_router(router)
    _handle_problems(app)
    app.add_middleware(Gate, settings=services.settings, tokens=services.tokens, metrics=services.metrics)
    _describe_problems(app)
    return app


def _handle_problems(app: FastAPI) -> None:
    """Whoever refuses, the framework included, what is sent is a problem; a defect is the gate's to tell."""

    @app.exception_handler(Problem)
    async def _ours(_request: Request, problem: Problem) -> Response:
        return problem.response()

    @app.exception_handler(HTTPException)
    async def _of_the_framework(_request: Request, error: HTTPException) -> Response:
        kinds = {404: "not-found", 405: "method-not-allowed", 400: "bad-request"}
        kind = kinds.get(error.status_code, "http")
        return Problem(error.status_code, kind, str(error.detail), headers=error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def _not_valid(_request: Request, error: RequestValidationError) -> Response:
        return invalid(error).response()


def invalid(error: RequestValidationError) -> Problem:
    """Each field and what is wrong with it; what was given is not repeated."""
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return Problem(400, "not-json", "the body is not JSON")
    fields = [
        {"field": ".".join(str(part) for part in problem["loc"]), "message": problem["msg"]}
        for problem in problems
    ]
    said = "; ".join(f"{one['field']}: {one['message'].lower()}" for one in fields)
    return Problem(422, "invalid-input", said, errors=fields)


def _describe_problems(app: FastAPI) -> None:
    """FastAPI describes refused input in a form of its own, which is never sent here."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = original()
            schemas = schema["components"]["schemas"]
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            schemas["ProblemBody"] = ProblemBody.model_json_schema()
        return app.openapi_schema or original()

    app.openapi = openapi  # type: ignore[method-assign]
