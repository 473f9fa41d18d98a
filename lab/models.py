"""What a lab says about itself: the answers of its control socket, read by the demo, the tests and benchmarks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Fault = Literal["corrupt-wal", "corrupt-db", "wipe", "hang"]


class Model(BaseModel):
    """Fields may be added later; readers ignore what they do not know."""

    model_config = ConfigDict(frozen=True)


class Member(Model):
    """One line of etcd's member list."""

    id: str
    name: str
    learner: bool
    started: bool
    healthy: bool = False


class PodView(Model):
    """One pod of the user cluster's namespace, as the API shows it."""

    name: str
    uid: str
    node: str
    phase: str
    ready: bool
    restarts: int
    address: str


class ObjectsView(Model):
    """The objects that a replacement changes and has to leave as they were."""

    pdb_spec: dict[str, object] | None
    initial_cluster_state: str
    update_strategy: dict[str, object]
    template_hash: str
    unschedulable_nodes: list[str]


class TrafficReport(Model):
    """What the writers saw."""

    acknowledged: int
    failed: int
    unknown: int
    not_acknowledged_by: dict[str, int] = {}
    """Failed and unknown ones by the member that was asked: a dead one refuses each third write."""
    longest_gap_seconds: float
    longest_gap_at: str
    seconds: float


class Judgement(Model):
    """What survived, by reading every acknowledged key back from each member."""

    lost_writes: int
    lost_by_member: dict[str, int]
    unread_members: list[str]
    survivor_restarts: int
    restarted: list[str]
    seconds_without_pdb: float


class Seen(Model):
    """One pod at one moment: which object, how often its containers had been restarted, its end."""

    pod: str
    uid: str
    restarts: int
    deleted: bool


class Evidence(Model):
    """What a judge of one's own needs: nothing in it is judged yet."""

    acknowledged: list[str]
    read: dict[str, list[str]]
    """Every key as each member that answers has it, asked of it alone."""
    sightings: list[Seen]
    members: list[Member]
    on_disk: list[str]
    """The replicas with `member/` in their data directory."""


class LabStatus(Model):
    """The lab at a glance."""

    kubernetes: str
    etcd: str
    members: list[Member]
    leader: str | None
    pods: list[PodView]
    nodes: dict[str, bool]
    agents: dict[str, bool]
    failed: str | None
    fault: str | None
    traffic: TrafficReport | None


class LabReport(Model):
    """Everything that decides whether an operation went well, for the demo's exit code and report."""

    kubernetes: str
    etcd: str
    members: list[Member]
    failed: str | None
    traffic: TrafficReport
    judgement: Judgement
    before: ObjectsView
    after: ObjectsView
    pdb_restored: bool
    strategy_restored: bool
    nodes_restored: bool
