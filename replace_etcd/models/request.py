"""What a replacement is started with: one JSON object, two fields of it enough."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from replace_etcd.models import Input

# Names of namespaces and pods are DNS labels (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/).
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
ORDINAL_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?-[0-9]+$"

Namespace = Annotated[str, StringConstraints(pattern=DNS_LABEL, max_length=63)]
ReplicaName = Annotated[str, StringConstraints(pattern=ORDINAL_NAME, max_length=63)]
NodeName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
# Control characters would reach terminals, and some databases take no NUL; a tab and a new line are text.
NOT_WRITABLE = r"\x00-\x08\x0b-\x1f\x7f"
WRITABLE = rf"^[^{NOT_WRITABLE}]*$"
FreeText = Annotated[str, StringConstraints(max_length=1000, pattern=WRITABLE)]
Who = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=WRITABLE)]
Limit = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=30))]


class JoinAs(StrEnum):
    """How the new member enters: a learner has no vote until it has caught up."""

    AUTO = "auto"
    LEARNER = "learner"
    VOTER = "voter"


class PdbMode(StrEnum):
    """Whether the PodDisruptionBudget is taken away for the eviction of the failed pod."""

    DELETE = "delete"
    KEEP = "keep"


class DrainMode(StrEnum):
    """Whether the whole node is drained, as in the runbook, or only the failed replica is evicted."""

    NODE = "node"
    REPLICA = "replica"


class Limits(Input):
    """How long a replacement waits for what it does not control (ISO 8601 durations or seconds)."""

    approval: Limit = timedelta(hours=24)
    hold: Limit = timedelta(hours=72)
    drain: Limit = timedelta(minutes=30)
    rejoin: Limit = timedelta(minutes=30)


class ReplacementRequest(Input):
    """The input of `ReplaceEtcdReplica`.

    `failed_replica` may be left out: then the one failed member is found, or the run is refused.
    """

    user_cluster: Namespace = Field(description="namespace of the user cluster in the admin cluster")
    failed_replica: ReplicaName | None = Field(
        default=None, description="pod of the failed member, kube-etcd-N"
    )
    incident: FreeText | None = None
    requested_by: FreeText | None = None
    reason: FreeText | None = None
    node: NodeName | None = Field(
        default=None, description="refuse unless the failed replica is on this node"
    )
    dry_run: bool = False
    require_approval: bool = False
    join_as: JoinAs = JoinAs.AUTO
    pod_disruption_budget: PdbMode = PdbMode.DELETE
    drain: DrainMode = DrainMode.NODE
    limits: Limits = Limits()
    delete_emptydir_data: bool = True
    force_drain: bool = False
    require_snapshot: bool = False
    take_over: FreeText | None = Field(
        default=None, description="why the record of a run that cannot be asked about may be taken over"
    )


class Approval(Input):
    """The argument of the updates `approve` and `decline`."""

    approver: Who
    comment: FreeText = ""


class Choice(StrEnum):
    """What to do with a replacement that holds."""

    RETRY = "retry"
    ABANDON = "abandon"


class Resolution(Input):
    """The argument of the update `resolve`."""

    choice: Choice
    by: Who
    reason: FreeText = ""


class Word(Input):
    """The argument of the updates `abort` and `confirm_node_down`."""

    by: Who
    reason: FreeText = ""
