"""What makes the preflight look once more instead of refusing: answers that say nothing of the cluster."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from activities.preflight_checks import will_pass
from replace_etcd.errors import (
    ClusterError,
    Conflict,
    CutOff,
    Forbidden,
    NotYet,
    OutcomeUnknown,
    ReplacementError,
    Unreachable,
)
from replace_etcd.kubernetes_answers import how_it_ended


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (CutOff("cut"), True),
        (Unreachable("away"), True),
        (ClusterError(503, "", "starting"), True),
        (ClusterError(429, "", "busy"), True),
        (Conflict(409, "", "the UID in the precondition does not match"), True),
        (Forbidden(403, "", "no"), False),
        (NotYet("no"), False),
        (OutcomeUnknown("etcdctl may not have run: there is none"), False),
    ],
    ids=str,
)
def test_it_looks_again_as_long_as_it_is_patient(error: ReplacementError, passes: bool) -> None:
    for patient in (True, False):
        looks = cast("Any", SimpleNamespace(patient=patient))
        assert will_pass(looks, error) is (passes and patient)


def test_a_command_whose_connection_ends_without_a_word_was_cut_off() -> None:
    with pytest.raises(CutOff, match="without a Status"):
        how_it_ended("etcdctl", bytearray(), bytearray())
