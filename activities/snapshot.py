"""The snapshot of a survivor, before anything is removed."""

from activities.step import Toolbox, step
from replace_etcd.models.orders import SnapshotOrder, SnapshotTaken


class SnapshotActivities:
    """The step that takes a snapshot."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def take_snapshot(self, order: SnapshotOrder) -> SnapshotTaken:
        """Skipped."""
        return SnapshotTaken(note="skipped")
