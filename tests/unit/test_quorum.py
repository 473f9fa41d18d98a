"""The arithmetic of quorum, by its properties."""

from hypothesis import given
from hypothesis import strategies as st

from replace_etcd.quorum import quorum, tolerance, tolerance_while_replacing

voters = st.integers(min_value=1, max_value=15)


@given(voters)
def test_two_quorums_always_share_a_voter(n: int) -> None:
    assert 2 * quorum(n) > n
    assert quorum(n) <= n


@given(voters, voters)
def test_a_quorum_is_lost_exactly_when_the_tolerance_is_negative(n: int, healthy: int) -> None:
    assert (tolerance(n, healthy) >= 0) == (healthy >= quorum(n))


@given(st.integers(min_value=2, max_value=15), st.integers(min_value=0, max_value=15))
def test_a_learner_is_never_worse_than_a_voter(n: int, healthy: int) -> None:
    as_learner = tolerance_while_replacing(n, healthy, learner=True)
    assert as_learner >= tolerance_while_replacing(n, healthy, learner=False)


def test_three_voters_with_one_failed_tolerate_nothing_and_no_second_failure() -> None:
    assert tolerance_while_replacing(3, 2, learner=True) == 0
    assert tolerance_while_replacing(3, 2, learner=False) == 0
    assert tolerance_while_replacing(3, 1, learner=True) < 0


def test_five_voters_with_one_failed_tolerate_one_more() -> None:
    assert tolerance_while_replacing(5, 4, learner=True) == 1


def test_five_voters_with_two_failed_bear_the_removal_of_one() -> None:
    assert tolerance_while_replacing(5, 3, learner=True) == 0
