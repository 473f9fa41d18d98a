"""Every line of the log says what it belongs to."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from replace_etcd import logs
from replace_etcd.models.orders import Done
from replace_etcd.models.request import ReplacementRequest


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON lines; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure("json")
    stream = io.StringIO()
    root.handlers[0].setStream(stream)  # type: ignore[attr-defined]
    yield stream
    root.handlers, root.level = handlers, level


class Ends(ActivityInboundInterceptor):
    """An activity at the end of the chain."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def execute_activity(self, input: ExecuteActivityInput) -> Done:
        logging.getLogger("a.package").warning("in the middle")
        if self._error:
            raise self._error
        return Done(note="three pods")


async def run(error: Exception | None = None) -> None:
    request = ReplacementRequest(user_cluster="user-cluster-1", failed_replica="kube-etcd-1")
    step = logs.StepLogs().intercept_activity(Ends(error))
    order = ExecuteActivityInput(fn=step.execute_activity, args=[request], executor=None, headers={})
    await ActivityEnvironment().run(step.execute_activity, order)


async def test_each_line_of_a_step_names_replica_user_cluster_and_attempt(lines: io.StringIO) -> None:
    await run()
    begins, library, done = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [begins["event"], library["event"], done["event"]] == ["step begins", "in the middle", "step done"]
    for line in (begins, library, done):
        assert (line["user_cluster"], line["replica"]) == ("user-cluster-1", "kube-etcd-1")
        assert {"workflow_id", "run_id", "activity", "attempt", "timestamp", "level"} <= line.keys()
    assert done["note"] == "three pods"


async def test_a_step_that_fails_says_why(lines: io.StringIO) -> None:
    with pytest.raises(ValueError, match="no such pod"):
        await run(ValueError("no such pod"))
    last = json.loads(lines.getvalue().splitlines()[-1])
    assert (last["event"], last["error"], last["error_type"]) == ("step failed", "no such pod", "ValueError")
