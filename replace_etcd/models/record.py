"""The record of a replacement: a ConfigMap beside the etcd that is being replaced.

It is the lock, the fence, and what a person reads when Temporal is gone.
"""

from datetime import datetime
from typing import Self

from replace_etcd.models import Message
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup, Pins
from replace_etcd.models.result import Outcome

RECORD = "record.json"
BY_HAND = "what-to-do-by-hand.txt"
# A person who goes on with kubectl writes a name under this key: no attempt of any run changes anything then.
TAKEN_BY_HAND = "taken-over-by-hand"


class Record(Message):
    """Who replaces which member, how far it is, and until when its newest attempt may send changes.

    `furthest` is the furthest phase reached, which a hold or a compensation does not lower; `pins` and `backup`
    are what a run that takes over, the janitor or a person needs to put everything back. Where the janitor has it,
    `interrupted_...` is the run that it puts things back for, which people and the audit know.
    """

    temporal_cluster_id: str
    temporal_namespace: str
    workflow_id: str
    first_run_id: str
    run_id: str
    generation: int
    phase: Phase
    furthest: Phase = Phase.PREFLIGHT
    attempt: str = ""
    attempt_number: int = 1
    until: datetime
    started_at: datetime
    updated_at: datetime
    replica: str
    node: str
    member_id: str
    pins: Pins | None = None
    backup: Backup | None = None
    new_member_id: str | None = None
    heir_of: list[str] = []
    interrupted_workflow_id: str = ""
    interrupted_run_id: str = ""
    outcome: Outcome | None = None
    reason: str = ""
    by_hand: str = ""
    taken_by_hand: str = ""

    @property
    def chain(self) -> tuple[str, str, str, str]:
        """The workflow, over all its resets, on the one Temporal that runs it."""
        return (self.temporal_cluster_id, self.temporal_namespace, self.workflow_id, self.first_run_id)

    def to_data(self) -> dict[str, str]:
        """As the data of a ConfigMap: one key for programs, one for people, one by which people take over."""
        taken = {TAKEN_BY_HAND: self.taken_by_hand} if self.taken_by_hand else {}
        words = {"by_hand", "taken_by_hand"}
        return {RECORD: self.model_dump_json(exclude=words, indent=1), BY_HAND: self.by_hand} | taken

    @classmethod
    def from_data(cls, data: dict[str, str]) -> Self:
        """Read it back from the data of a ConfigMap."""
        words = {"by_hand": data.get(BY_HAND, ""), "taken_by_hand": data.get(TAKEN_BY_HAND, "")}
        return cls.model_validate_json(data[RECORD]).model_copy(update=words)
