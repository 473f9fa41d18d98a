"""What preflight found: verdicts for people, pins for every later step.

A pin is an identity (uid, member id) read once, before anything changes. Later steps may only confirm pins:
a name that is resolved again can mean another object (docs/contract.md, Etcd rules).
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from replace_etcd.models import Message
from replace_etcd.models.phase import Phase


class Verdict(StrEnum):
    """The answer of one check."""

    OK = "ok"
    WARN = "warn"
    REFUSE = "refuse"


class Check(Message):
    """A refusal as data: what was looked at, what was seen, and the way out."""

    name: str
    verdict: Verdict
    evidence: str
    way_out: str = ""


class Member(Message):
    """A member as etcd lists it. Ids are hex text: 64 bits do not survive JSON readers."""

    id: str
    name: str = ""
    peer_urls: list[str]
    client_urls: list[str] = []
    learner: bool = False

    @property
    def started(self) -> bool:
        """Whether the member has published its name, which it does once it has joined."""
        return bool(self.name)


class Survivor(Message):
    """A healthy voter and the pod that answers for it."""

    pod: str
    pod_uid: str
    member_id: str
    client_urls: list[str] = []


class FlagPlace(Message):
    """Where `--initial-cluster-state` stands in the pod template: a JSON pointer, and how it is written there."""

    pointer: str
    original: str
    existing: str


class Backup(Message):
    """A PodDisruptionBudget without the fields that a server sets; None where there was none."""

    manifest: dict[str, Any] | None = None


class Pins(Message):
    """Every identity that the replacement may touch.

    `tolerations` and `pull_secrets` are the failed pod's, which the utility Pod needs as well; `node_hostname` is empty
    where the node has no such label. The last ones say what an unfinished replacement or runbook has left: a cordon
    that nobody holds, a utility Pod (`stray_utility_uid`), and that the member `is_removed` already; `node_lease` is
    the node's last sign of life.
    """

    user_cluster: str
    replica: str
    ordinal: int
    voters: int
    member_id: str
    member_name: str
    peer_urls: list[str]
    client_urls: list[str]
    was_leader: bool = False
    etcd_version: str
    join_as_learner: bool
    survivors: list[Survivor]
    stateful_set_uid: str
    container: str
    flag: FlagPlace
    update_strategy: dict[str, Any]
    template_digest: str = ""
    pod_uid: str
    claim: str
    claim_uid: str
    claim_is_exclusive: bool = False
    certificates_secret: str
    data_path: str
    node: str
    node_uid: str
    node_hostname: str
    tolerations: list[dict[str, Any]] = []
    pull_secrets: list[dict[str, Any]] = []
    node_ready: bool = True
    node_lease: str = ""
    volume_can_move: bool = False
    cordon_is_ours: bool = False
    stray_utility_uid: str | None = None
    is_removed: bool = False
    pdb: str
    pdb_uid: str | None
    pdb_mode: str
    drain_mode: str


class DrainedPod(Message):
    """A pod on the node and what the drain does with it, in kubectl's terms."""

    namespace: str
    name: str
    uid: str
    evict: bool
    reason: str = ""


class Resume(Message):
    """Where an unfinished replacement, or a runbook that a person left half done, goes on.

    `step` is where the steps begin: `protecting` (nothing is removed yet), `cleaning` (the member is removed),
    `adding` (its directory is clean, or the new member is listed) or `restoring` (the new member is a voter).
    `heir_of` are the first runs whose record is taken over: what they left is this run's to put back. With
    `alarm_stands` the removed member has left an alarm, and writes stay refused until it is disarmed.
    """

    step: Phase
    why: str
    backup: Backup | None = None
    new_member_id: str | None = None
    heir_of: list[str] = []
    alarm_stands: bool = False


class Plan(Message):
    """The read-only plan: what would be done to which object, and what stands against it."""

    checks: list[Check]
    actions: list[str]
    drained: list[DrainedPod] = []
    pins: Pins | None = None
    members: list[Member] = []
    resume: Resume | None = None
    made_at: datetime

    @property
    def refusals(self) -> list[Check]:
        """The checks that refuse."""
        return [check for check in self.checks if check.verdict is Verdict.REFUSE]
