"""What a refusal means: to wait, to ask differently, to renew something, or no."""

import json

import pytest

from replace_etcd.errors import FINAL, ClusterError, Forbidden, Unauthenticated
from replace_etcd.kubernetes_answers import asked_to_wait, cluster_error, refused_by_budget, unknown_identity

BUSY = b"Too many requests, please try again later.\n"
BY_A_BUDGET = json.dumps(
    {
        "code": 429,
        "reason": "TooManyRequests",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": "needs 2 healthy pods and has 2"}]},
    }
).encode()


@pytest.mark.parametrize(
    ("status", "headers", "text", "seconds"),
    [
        (429, {"Retry-After": "1"}, BUSY, 1.0),
        (429, {"Retry-After": "0"}, BUSY, 1.0),
        (429, {"Retry-After": "\u00b2"}, BUSY, None),
        (429, {}, BUSY, None),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, BUSY, None),
        (429, {"Retry-After": "10"}, BY_A_BUDGET, None),
        (503, {"Retry-After": "1"}, BUSY, None),
        (200, {"Retry-After": "1"}, b"{}", None),
    ],
)
def test_only_a_server_that_is_too_busy_is_left_alone(
    status: int, headers: dict[str, str], text: bytes, seconds: float | None
) -> None:
    assert asked_to_wait(status, headers, text) == seconds


def test_a_429_is_a_budgets_word_only_where_it_says_so() -> None:
    assert refused_by_budget(cluster_error(429, BY_A_BUDGET))
    assert not refused_by_budget(cluster_error(429, BUSY))
    two = json.dumps({"message": "This pod has more than one PodDisruptionBudget, which is not supported."})
    assert refused_by_budget(cluster_error(500, two.encode()))


def test_a_body_that_is_no_status_is_told_as_it_is() -> None:
    assert str(cluster_error(429, BUSY)) == "429 : Too many requests, please try again later."
    assert str(cluster_error(502, b"[]")) == "502 : []"


def test_who_is_not_known_is_not_who_may_not() -> None:
    unknown = cluster_error(401, b'{"message": "Unauthorized"}', unknown_identity(None))
    assert type(unknown) is Unauthenticated
    assert type(cluster_error(403, b"{}")) is Forbidden
    assert Unauthenticated.__name__ not in FINAL, "a renewed identity mends it"
    assert Forbidden.__name__ in FINAL
    assert isinstance(unknown, ClusterError)
    assert str(unknown) == (
        "401 Unauthorized: the API server does not accept this worker's identity: its token has expired, or its account"
        " is gone; renew it in the kubeconfig, and restart the worker"
    )


def test_a_certificate_that_cannot_be_read_is_said() -> None:
    assert "its client certificate cannot be read" in unknown_identity("/nowhere")
