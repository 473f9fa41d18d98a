"""The client-side rate limit: a burst, then one request after the other; a turn that comes too late is not taken."""

import pytest

from replace_etcd import kubernetes_cluster
from replace_etcd.errors import ClusterError, NotStarted
from replace_etcd.kubernetes_cluster import Configuration, KubernetesCluster
from replace_etcd.token_bucket import TokenBucket


class Clock:
    """Time that moves by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_goes_at_once_and_the_rest_in_turn() -> None:
    bucket = TokenBucket(qps=10, burst=3, clock=Clock())
    assert [bucket.reserve(9) for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])


def test_a_pause_fills_it_again_up_to_the_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(qps=10, burst=3, clock=clock)
    for _ in range(3):
        bucket.reserve(9)
    clock.now = 60.0
    assert [bucket.reserve(9) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_a_turn_that_comes_too_late_is_not_taken() -> None:
    bucket = TokenBucket(qps=1, burst=1, clock=Clock())
    assert bucket.reserve(0.5) == 0
    assert bucket.reserve(0.5) is None
    assert bucket.reserve(1.5) == 1


def test_without_a_limit_nothing_waits() -> None:
    bucket = TokenBucket(qps=0, burst=1, clock=Clock())
    assert [bucket.reserve(0) for _ in range(99)] == [0] * 99


async def test_what_gets_no_turn_in_time_is_certainly_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request fails as one that the server has refused, an exec as one that never started: no outcome is unknown."""
    monkeypatch.setattr(kubernetes_cluster, "REQUEST_SECONDS", 0.5)
    bucket = TokenBucket(qps=0.01, burst=1)
    bucket.reserve(0)
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:9"  # whatever is sent would be unreachable
    cluster = KubernetesCluster(configuration, bucket)
    try:
        with pytest.raises(ClusterError, match="rate limit"):
            await cluster.version()
        with pytest.raises(NotStarted, match="rate limit"):
            await cluster.execute("n", "p", "c", ["true"], seconds=0.5)
    finally:
        await cluster.close()
