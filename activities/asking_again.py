"""How soon what cannot be watched is asked again: etcd itself announces neither a learner in sync nor a healthy voter.

Each question is an exec per member, through the API server of all user clusters. A catch-up takes seconds or an hour:
a fixed pause is too long for the one, or thousands of needless execs in the other.
"""

from __future__ import annotations

SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 1.0
SHARE = 0.1


def pause_after(waited: float) -> float:
    """The seconds until the next question: a share of those waited so far, so that an answer is late by no more."""
    return min(max(SHORTEST_SECONDS, SHARE * waited), LONGEST_SECONDS)
