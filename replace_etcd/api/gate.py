"""What every request passes before a route sees it: who asks, how often, how much, and how long it may take.

Plain ASGI, so that nobody's body is read before it is known who sends it, and a body is bounded while it arrives,
whether or not it says how long it is.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replace_etcd.api.limits import Rate
from replace_etcd.api.metrics import Metrics
from replace_etcd.api.problems import Problem, unavailable
from replace_etcd.api.settings import ApiSettings
from replace_etcd.api.tokens import Token, TokenFile

# Probes, figures, the description, and the webhook that signs its body instead of showing a token.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/webhooks/pagerduty"})
PAGES = "/replacements"
WITH_A_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
REALM = 'realm="replace-etcd", charset="UTF-8"'
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}


@dataclass(frozen=True)
class Caller:
    """Who asks, as far as a token says so."""

    name: str
    token: Token


class Gate:
    """Stands around the application."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, tokens: TokenFile, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._tokens = tokens
        self._metrics = metrics
        self._of_tokens = Rate(settings.token_rate_per_minute)
        self._of_addresses = Rate(settings.address_rate_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or whatever else a server says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, tls=self._settings.tls_certificate is not None)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                await self._pass(scope, receive, answer)
        except Problem as problem:
            await answer.give(problem, scope, receive)
        except TimeoutError:
            late = unavailable(
                "no answer in time; what was asked may still happen: look before you repeat it"
            )
            await answer.give(late, scope, receive)
        except Exception:
            logging.getLogger(__name__).exception("a request failed")
            defect = Problem(500, "defect", "this is a defect of the API; its log has the details")
            await answer.give(defect, scope, receive)
        finally:
            self._metrics.answered(scope["method"], _route(scope), answer.status, time.monotonic() - begun)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._let_in(scope)
            body = await self._body(scope, receive)
        except Problem as problem:
            self._metrics.turned_away.labels(problem.kind).inc()
            raise
        await self._app(scope, _Replayed(body, receive), send)

    def _let_in(self, scope: Scope) -> None:
        """A known token has a rate of its own; everything else is the address's."""
        caller = self._caller(scope)
        scope.setdefault("state", {})["caller"] = caller
        address = (scope.get("client") or ("unknown",))[0]
        wait = self._of_tokens.take(caller.name) if caller else self._of_addresses.take(address)
        if wait and scope["path"] != "/healthz":
            raise Problem(
                429,
                "too-many-requests",
                f"too many requests: come again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        if caller is None and scope["path"] not in OPEN_PATHS:
            raise _unauthenticated(scope["path"])

    def _caller(self, scope: Scope) -> Caller | None:
        secret = _shown(Headers(scope=scope), scope)
        token = self._tokens.find(secret) if secret else None
        return Caller(token.name, token) if token else None

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] not in WITH_A_BODY:
            return b""
        headers = Headers(scope=scope)
        most = self._settings.max_body_bytes
        if _declared(headers) > most:
            raise _too_large(most)
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                body = await _read(receive, most)
        except TimeoutError:
            raise Problem(
                408, "slow-body", "the body did not arrive in time", headers={"Connection": "close"}
            ) from None
        if body and not _is_json(headers):
            raise Problem(415, "not-json", "send JSON, with Content-Type: application/json")
        return body


def _shown(headers: Headers, scope: Scope) -> str | None:
    """The token that is shown: as a bearer, or, by browsers, as a password.

    A browser sends a password by itself, to whatever page asks it to: so it opens nothing but pages to read.
    """
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic" and scope["method"] == "GET" and _is_page(scope["path"]):
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _unauthenticated(path: str) -> Problem:
    if _is_page(path):
        how, scheme = "give a token with the role read as the password", "Basic"
    else:
        how, scheme = "send Authorization: Bearer TOKEN, with a token of `replace-etcd api token`", "Bearer"
    return Problem(401, "unauthenticated", how, headers={"WWW-Authenticate": f"{scheme} {REALM}"})


def _is_page(path: str) -> bool:
    return path == PAGES or path.startswith(f"{PAGES}/")


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0


def _is_json(headers: Headers) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"the body is larger than {most} bytes", headers={"Connection": "close"})


async def _read(receive: Receive, most: int) -> bytes:
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "cut-short", "the body was cut short")
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise _too_large(most)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


class _Replayed:
    """`receive` of a request whose body is here already."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """`send` that adds the headers every answer has, and knows whether one was begun."""

    def __init__(self, send: Send, *, tls: bool) -> None:
        self._send = send
        self._headers = dict(SECURITY_HEADERS)
        if tls:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"
        self.status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        self._begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def give(self, problem: Problem, scope: Scope, receive: Receive) -> None:
        """Answer with a problem, unless an answer was begun: then the connection tells by its end."""
        if not self._begun:
            await problem.response()(scope, receive, self)


def _route(scope: Scope) -> str:
    """The route as it is written down, so that there are as many as there are routes."""
    route = scope.get("route")
    return str(getattr(route, "path", "none"))
