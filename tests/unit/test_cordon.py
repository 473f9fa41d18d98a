"""Who holds a cordon: two replacements on one node, and a node that somebody else had cordoned."""

from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.node import cordon, uncordon
from replace_etcd.cluster import Object
from replace_etcd.errors import Moved


def node(unschedulable: bool = False) -> Object:
    spec: dict[str, Any] = {"unschedulable": True} if unschedulable else {}
    return {"metadata": {"name": "node-1", "annotations": {"theirs": "x"}}, "spec": spec}


def apply(subject: Object, change: Any, holder: str) -> Object:
    patched: Object = jsonpatch.apply_patch(subject, change(subject, f"replace-etcd/cordon.{holder}")[0])
    return patched


@given(st.permutations(["a", "b", "c"]))
def test_the_last_holder_to_leave_puts_the_node_back_as_it_was(leaving: list[str]) -> None:
    subject = node()
    for holder in ("a", "b", "c"):
        subject = apply(subject, cordon, holder)
        assert subject["spec"]["unschedulable"]
    for holder in leaving[:-1]:
        subject = apply(subject, uncordon, holder)
        assert subject["spec"]["unschedulable"]
    assert apply(subject, uncordon, leaving[-1]) == node()


def test_a_node_that_somebody_else_cordoned_is_not_held() -> None:
    with pytest.raises(Moved, match="somebody else cordoned"):
        cordon(node(unschedulable=True), "replace-etcd/cordon.a")


def test_both_are_idempotent() -> None:
    once = apply(node(), cordon, "a")
    assert apply(once, cordon, "a") == once
    back = apply(once, uncordon, "a")
    assert apply(back, uncordon, "a") == back == node()


def test_a_cordon_that_somebody_took_away_is_asserted_again() -> None:
    once = apply(node(), cordon, "a")
    once["spec"].pop("unschedulable")
    assert apply(once, cordon, "a")["spec"]["unschedulable"]
