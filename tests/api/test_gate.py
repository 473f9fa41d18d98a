"""What every request passes: who asks, how often, how much; and one form for whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from replace_etcd.api import reading, tokens
from replace_etcd.api.limits import MOST_KEYS, Rate
from tests.api.conftest import Api, Apis

ONE = "/v1/replacements/user-cluster-1"


def is_problem(answer: httpx.Response, status: int, kind: str) -> bool:
    """Whether it is of RFC 9457's form."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) >= {"type", "title", "status", "detail"}
    return (answer.status_code, body["status"], body["type"]) == (status, status, f"urn:replace-etcd:{kind}")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "/v1/nothing", None, 404, "not-found"),
        ("PUT", "/v1/replacements", {}, 405, "method-not-allowed"),
        ("POST", "/v1/replacements", {}, 422, "invalid-input"),
        ("POST", "/v1/replacements", {"user_cluster": "a", "failed_replcia": "b-1"}, 422, "invalid-input"),
        ("POST", "/v1/replacements", {"user_cluster": "a", "incident": "\x00"}, 422, "invalid-input"),
        ("GET", "/v1/replacements?cursor=YWJj", None, 422, "bad-cursor"),
        ("GET", "/v1/replacements?cursor=djF8AHwA", None, 422, "bad-cursor"),  # v1|NUL|NUL
        ("GET", "/v1/replacements?userCluster=a", None, 422, "invalid-input"),
        ("GET", "/v1/replacements?since=0001-01-01T00:00:00%2B14:00", None, 422, "invalid-input"),
    ],
)
async def test_what_is_wrong_is_a_problem(
    api: Api, method: str, path: str, body: object, status: int, kind: str
) -> None:
    async with api.by("ann") as http:
        answer = await http.request(method, path, json=body)
    assert is_problem(answer, status, kind), answer.text
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "problem"),
    [
        (b"{", "application/json", 400, "not-json"),
        (b"[" * 100_000, "application/json", 400, "bad-request"),
        (b'{"user_cluster": "a"}', "text/plain", 415, "not-json"),
        (b'{"user_cluster": "\\ud800"}', "application/json", 422, "invalid-input"),
        (b'{"user_cluster": ' + b"9" * 10_000 + b"}", "application/json", 400, "bad-request"),
    ],
)
async def test_a_body_that_is_no_json(api: Api, content: bytes, kind: str, status: int, problem: str) -> None:
    async with api.by("ann") as http:
        answer = await http.post("/v1/replacements", content=content, headers={"Content-Type": kind})
    assert is_problem(answer, status, problem), answer.text


class TestTheBody:
    """It is bounded while it arrives."""

    async def test_one_that_says_that_it_is_too_long_is_not_read(self, apis: Apis) -> None:
        api = apis.one(max_body_bytes=2048)
        read = 0

        def piece_by_piece() -> Iterator[bytes]:
            nonlocal read
            for _ in range(100):
                read += 1
                yield b" " * 1024

        async with api.by("ann", **{"Content-Length": "102400", "Content-Type": "application/json"}) as http:
            answer = await http.post("/v1/replacements", content=asynchronous(piece_by_piece()))
        assert is_problem(answer, 413, "too-large")
        assert read == 0

    async def test_one_in_chunks_is_cut_off_where_it_becomes_too_long(self, apis: Apis) -> None:
        api = apis.one(max_body_bytes=2048)
        read = 0

        def piece_by_piece() -> Iterator[bytes]:
            nonlocal read
            for _ in range(100):
                read += 1
                yield b" " * 1024

        async with api.by("ann", **{"Content-Type": "application/json"}) as http:
            answer = await http.post("/v1/replacements", content=asynchronous(piece_by_piece()))
        assert is_problem(answer, 413, "too-large")
        assert read == 3

    async def test_one_that_does_not_come_is_not_waited_for(self, apis: Apis) -> None:
        api = apis.one(body_seconds=0.05)

        async def never() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        async with api.by("ann", **{"Content-Type": "application/json"}) as http:
            answer = await http.post("/v1/replacements", content=never())
        assert is_problem(answer, 408, "slow-body")


async def asynchronous(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class TestWhoAsks:
    """Tokens and roles."""

    async def test_without_a_token_nothing_is_told(self, api: Api) -> None:
        for method, path in (("GET", ONE), ("POST", "/v1/replacements"), ("GET", "/v1/nothing")):
            async with api.by(None) as http:
                answer = await http.request(method, path)
            assert is_problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer ")
        async with api.by(None, Authorization="Bearer retcd_wrong") as http:
            assert is_problem(await http.get(ONE), 401, "unauthenticated")

    @pytest.mark.parametrize(
        ("name", "method", "path", "body"),
        [
            ("reader", "POST", "/v1/replacements", {"user_cluster": "a"}),
            ("starter", "GET", "/v1/replacements", None),
            ("starter", "POST", f"{ONE}/approve", None),
            ("starter", "POST", f"{ONE}/confirm-node-down", None),
            ("reader", "POST", f"{ONE}/abort", None),
            ("reader", "POST", f"{ONE}/resolve", {"choice": "retry"}),
            ("monitoring", "POST", "/v1/replacements", {"user_cluster": "a"}),
            ("monitoring", "GET", "/replacements", None),
            ("reader", "POST", "/v1/webhooks/alertmanager", {"version": "4", "alerts": []}),
        ],
    )
    async def test_a_token_does_what_its_roles_say_and_nothing_else(
        self, api: Api, name: str, method: str, path: str, body: object
    ) -> None:
        async with api.by(name) as http:
            answer = await http.request(method, path, json=body)
        expected = 401 if path == "/replacements" and name != "monitoring" else 403
        assert answer.status_code == expected, answer.text
        assert answer.json()["type"] == "urn:replace-etcd:role-missing"

    async def test_a_password_opens_pages_to_read_and_nothing_else(self, api: Api) -> None:
        password = httpx.BasicAuth("whoever", api.secrets["ann"])
        assert (await api.get("/replacements", None, auth=password)).status_code == 200
        assert (await api.get("/v1/replacements", None, auth=password)).status_code == 401
        async with api.by(None) as http:
            answer = await http.post("/v1/replacements", json={"user_cluster": "a"}, auth=password)
            assert answer.status_code == 401
            asked = await http.get("/replacements")
        assert asked.headers["www-authenticate"].startswith("Basic ")

    async def test_the_file_is_read_again_when_it_changes(self, apis: Apis) -> None:
        api = apis.one()
        secret, kept = tokens.new_token("new", ["read"])
        async with api.by(None, Authorization=f"Bearer {secret}") as http:
            assert (await http.get("/v1/replacements")).status_code == 401
            tokens.add(apis.tokens_file, kept)
            assert (await http.get("/v1/replacements")).status_code == 200
            apis.tokens_file.write_text(f"{kept.line}\nann start\n")  # a slip: the last good ones stay
            assert (await http.get("/v1/replacements")).status_code == 200
            assert (await api.get("/v1/replacements")).status_code == 200
            assert "line 2" in (await http.get("/readyz")).json()["tokens"]
            apis.tokens_file.write_text("# withdrawn\n" + tokens.new_token("x", ["read"])[1].line)
            assert (await http.get("/v1/replacements")).status_code == 401


class TestHowOften:
    """A bucket for each token, and one for each address that shows none."""

    async def test_a_token_has_its_own_rate(self, apis: Apis) -> None:
        api = apis.one(token_rate_per_minute=8)
        async with api.by("ann") as http:
            answers = [await http.get("/v1/nothing") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404, 404, 429]
        assert is_problem(answers[2], 429, "too-many-requests")
        assert 0 < int(answers[2].headers["retry-after"]) <= 8
        assert (await api.get("/v1/nothing", "bob")).status_code == 404

    async def test_guesses_are_an_addresss_and_shut_nobody_out(self, apis: Apis) -> None:
        api = apis.one(address_rate_per_minute=8)
        async with api.by(None, Authorization="Bearer retcd_guess") as http:
            answers = [await http.get("/v1/replacements") for _ in range(3)]
            assert (await http.get("/healthz")).status_code == 200
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert (await api.get("/v1/replacements")).status_code == 200

    def test_a_bucket_refills_and_the_quiet_ones_are_forgotten(self) -> None:
        now = 0.0
        rate = Rate(60, clock=lambda: now)
        assert [rate.take("a") for _ in range(16)] == [0] * 15 + [1]
        now = 1.0
        assert (rate.take("a"), rate.take("a")) == (0, 1)
        for number in range(MOST_KEYS):
            rate.take(str(number))
        assert len(rate._buckets) == MOST_KEYS
        assert "a" not in rate._buckets


async def test_a_defect_is_a_problem_that_tells_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(reading, "find", broken)
    answer = await api.get(ONE)
    assert is_problem(answer, 500, "defect")
    assert "hunter2" not in answer.text


async def test_an_answer_that_takes_too_long_is_given_up(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(reading, "find", stuck)
    answer = await apis.one(request_seconds=0.05).get(ONE)
    assert is_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]


async def test_every_answer_has_the_headers_that_keep_a_browser_in_bounds(api: Api) -> None:
    for path in ("/replacements", "/v1/nothing", "/healthz"):
        headers = (await api.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


class TestProbes:
    """For what runs the API."""

    async def test_readiness_names_what_is_missing(self, apis: Apis) -> None:
        api = apis.one(queue="nobody-polls-this", audit="postgresql://u:hunter2@127.0.0.1:1/none")
        answer = await api.get("/readyz", None)
        told = answer.json()
        assert (answer.status_code, told["ready"], told["temporal"]) == (503, False, "ok")
        assert "no worker polls" in told["worker"]
        assert told["audit"] != "ok"
        assert "hunter2" not in answer.text

    async def test_figures_name_routes_and_nobody(self, api: Api) -> None:
        for number in range(5):
            await api.get(f"/v1/replacements/user-cluster-{number}")
            await api.get(f"/{number}")
        async with api.by("ann") as http:
            await http.request("BREW", "/v1/replacements")
        figures = (await api.get("/metrics", None)).text
        assert 'method="GET",route="/v1/replacements/{id}",status="404"} 5.0' in figures
        assert 'method="GET",route="none",status="404"} 5.0' in figures
        assert 'method="other"' in figures
        assert "user-cluster" not in figures
        assert "ann" not in figures

    async def test_the_description_has_examples_and_problems_and_no_foreign_scripts(self, api: Api) -> None:
        described = (await api.get("/openapi.json", None)).json()
        start = described["paths"]["/v1/replacements"]["post"]
        assert start["requestBody"]["content"]["application/json"]["examples"]
        assert "application/problem+json" in start["responses"]["422"]["content"]
        assert "HTTPValidationError" not in described["components"]["schemas"]
        assert [(await api.get(path)).status_code for path in ("/docs", "/redoc")] == [404, 404]
