"""What a replacement may be started with, and how it says no."""

from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.workflows.conftest import Stage


@pytest.mark.parametrize(
    ("submitted", "words"),
    [
        ({"failed_replica": "kube-etcd-1"}, ["user_cluster", "field required"]),
        (
            {"user_cluster": "user-cluster-1", "failed_replcia": "kube-etcd-1"},
            ["failed_replcia", "failed_replica"],
        ),
        ({"user_cluster": "Not A Namespace"}, ["user_cluster", "'Not A Namespace'"]),
        ({"user_cluster": "a", "failed_replica": "kube-etcd"}, ["failed_replica", "'kube-etcd'"]),
        ({"user_cluster": "a", "join_as": "observer"}, ["join_as", "'auto', 'learner' or 'voter'"]),
        ({"user_cluster": "a", "limits": {"drain": "-PT5M"}}, ["limits.drain"]),
        ("user-cluster-1", ["the input", "'user-cluster-1'"]),
        ([{"user_cluster": "a"}], ["the input"]),
    ],
)
async def test_wrong_input_fails_at_once_and_names_the_field(
    stage: Stage, submitted: Any, words: list[str]
) -> None:
    handle = await stage.start(submitted)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    error = caught.value.cause
    assert isinstance(error, ApplicationError)
    assert error.type == "InvalidInput"
    for word in words:
        assert word in error.message
    assert stage.script.calls == []


async def test_no_input_at_all_is_wrong_input_too(stage: Stage) -> None:
    handle = await stage.client.start_workflow(
        "ReplaceEtcdReplica", id="replace-etcd.none", task_queue=stage.queue
    )
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "InvalidInput"
