"""How soon a question is asked again."""

from __future__ import annotations

import pytest

from activities.asking_again import pause_after


@pytest.mark.parametrize(
    ("waited", "pause"), [(0.0, 0.2), (2.0, 0.2), (5.0, 0.5), (10.0, 1.0), (3600.0, 1.0)]
)
def test_a_long_wait_asks_less_often_and_never_less_than_once_a_second(waited: float, pause: float) -> None:
    assert pause_after(waited) == pause
