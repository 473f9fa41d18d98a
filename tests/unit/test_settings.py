"""Settings are written by people, into environment variables."""

import pytest

from replace_etcd.settings import Settings


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("user-cluster-1", ["user-cluster-1"]),
        ("user-cluster-1, user-cluster-2,", ["user-cluster-1", "user-cluster-2"]),
        ("", []),
    ],
)
def test_user_clusters_are_named_by_commas(
    monkeypatch: pytest.MonkeyPatch, written: str, read: list[str]
) -> None:
    monkeypatch.setenv("REPLACE_ETCD_NAMESPACES", written)
    assert Settings().namespaces == read
