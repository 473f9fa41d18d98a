"""Where a replacement stands: one list for the workflow, the record and the search attribute."""

from enum import StrEnum


class Phase(StrEnum):
    """Where a replacement stands; from `REMOVING` on there is no way back."""

    PREFLIGHT = "preflight"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    WAITING_FOR_NODE = "waiting_for_node"
    PROTECTING = "protecting"
    DRAINING = "draining"
    SNAPSHOTTING = "snapshotting"
    REMOVING = "removing"
    CLEANING = "cleaning"
    ADDING = "adding"
    REJOINING = "rejoining"
    RESTORING = "restoring"
    VERIFYING = "verifying"
    HELD = "held"
    ROLLING_BACK = "rolling_back"
    DONE = "done"


# A forward step that finds the record gone gives up here, and its compensations write it again.
BEFORE_THE_REMOVAL = (
    *(Phase.PREFLIGHT, Phase.WAITING_FOR_APPROVAL, Phase.WAITING_FOR_NODE),
    *(Phase.PROTECTING, Phase.DRAINING, Phase.SNAPSHOTTING),
)
PAST_THE_REMOVAL = (
    *(Phase.REMOVING, Phase.CLEANING, Phase.ADDING, Phase.REJOINING),
    *(Phase.RESTORING, Phase.VERIFYING),
)
REJOINED = (Phase.RESTORING, Phase.VERIFYING)
"""The new member is a voter: what was taken away comes back."""
_ON_THE_WAY = (*BEFORE_THE_REMOVAL, *PAST_THE_REMOVAL)


def further(one: Phase, other: Phase) -> Phase:
    """Which of two phases is further on the way; a hold or a way back is not on it, and does not count."""
    return max(one, other, key=lambda phase: _ON_THE_WAY.index(phase) if phase in _ON_THE_WAY else -1)
