"""The API against its own description: whatever is sent, no defect, and every answer as it is written down.

Schemathesis makes the requests: some seconds of it in every run, a minute and a half in `make test-full`.
"""

from __future__ import annotations

import asyncio
import os
import time
import unittest
from collections import Counter
from contextlib import suppress
from typing import Any, cast

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from temporalio.client import Client

from tests.api.conftest import Api, working
from tests.workflows.script import Script

FULL = "REPLACE_ETCD_TEST_FULL" in os.environ
SECONDS = 90.0 if FULL else 8.0
EXAMPLES = 300 if FULL else 12
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


async def test_whatever_is_sent_there_is_no_defect(
    client: Client, api: Api, script: Script, user_cluster: str
) -> None:
    """Half of the requests that name a replacement name one that is there, and waits for approval."""
    async with working(client, script):
        begun = await api.post("/v1/replacements", {"user_cluster": user_cluster, "require_approval": True})
        fuzzer = Fuzzer(api, begun.json()["id"])
        await asyncio.to_thread(fuzzer.run)
    assert {label for label, _ in fuzzer.tried} == {operation.label for operation in fuzzer.operations}
    assert {200, 404, 422} <= set(fuzzer.seen), fuzzer.seen


class Fuzzer:
    """Sends what hypothesis makes of the description, to each operation for its share of the time.

    One right and one wrong request go out at least, however slow the machine is.
    """

    def __init__(self, api: Api, known: str) -> None:
        self._headers = {"Authorization": f"Bearer {api.secrets['bob']}"}
        schema = schemathesis.openapi.from_asgi("/openapi.json", api.app)
        self.operations: list[Any] = [cast(Any, found).ok() for found in schema.get_all_operations()]
        self._app = api.app
        self._known = known
        self.seen: Counter[int] = Counter()
        self.tried: set[tuple[str, GenerationMode]] = set()

    def run(self) -> None:
        """What an operation takes, and what it does not."""
        share = SECONDS / len(self.operations) / len(MODES)
        with asgi.get_client(cast(Any, self._app)) as session:
            for operation in self.operations:
                for mode in MODES:
                    # An operation that takes nothing takes nothing wrong; and the end of its share is no failure.
                    with suppress(hypothesis.errors.Unsatisfiable, unittest.SkipTest):
                        self._try(operation, mode, session, time.monotonic() + share)

    def _try(self, operation: Any, mode: GenerationMode, session: Any, until: float) -> None:
        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=not FULL,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def one(case: Any) -> None:
            if time.monotonic() > until and (operation.label, mode) in self.tried:
                raise unittest.SkipTest("its share of the time is over")
            self.tried.add((operation.label, mode))
            self._send(case, session)

        one()

    def _send(self, case: Any, session: Any) -> None:
        if "id" in case.path_parameters and self.seen.total() % 2:
            case.path_parameters["id"] = self._known
        answer = case.call(headers=self._headers, session=session)
        self.seen[answer.status_code] += 1
        assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text}"
        case.validate_response(answer, checks=CHECKS)
