"""What the checks of the preflight share: the list of verdicts, and what has been seen so far."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from activities.step import Toolbox
from replace_etcd.cluster import Object
from replace_etcd.errors import ClusterError, Conflict, CutOff, ReplacementError, Unauthenticated, Unreachable
from replace_etcd.etcd import MemberStatus
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Check, DrainedPod, FlagPlace, Member, Resume, Survivor, Verdict
from replace_etcd.models.record import Record
from replace_etcd.models.request import ReplacementRequest


class Findings:
    """Verdicts, in the order in which they were found."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.may_go_on = True

    def ok(self, name: str, evidence: str) -> None:
        """Nothing stands against it."""
        self.checks.append(Check(name=name, verdict=Verdict.OK, evidence=evidence))

    def warn(self, name: str, evidence: str, way_out: str = "") -> None:
        """Worth knowing, no reason to refuse."""
        self.checks.append(Check(name=name, verdict=Verdict.WARN, evidence=evidence, way_out=way_out))

    def refuse(self, name: str, evidence: str, way_out: str, *, fatal: bool = False) -> None:
        """A reason to refuse; `fatal` where later checks would have nothing to look at."""
        self.checks.append(Check(name=name, verdict=Verdict.REFUSE, evidence=evidence, way_out=way_out))
        self.may_go_on = self.may_go_on and not fatal

    @property
    def refused(self) -> bool:
        """Whether anything refuses."""
        return any(check.verdict is Verdict.REFUSE for check in self.checks)

    def judge(self, name: str, holds: bool, evidence: str, way_out: str) -> None:
        """Ok where it holds, a refusal where it does not."""
        if holds:
            self.ok(name, evidence)
        else:
            self.refuse(name, evidence, way_out)


@dataclass
class Looks:
    """What the preflight has seen so far; each look fills in its part for the next."""

    tools: Toolbox
    request: ReplacementRequest
    findings: Findings
    stateful_set: Object = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    container: str = ""
    flag: FlagPlace = field(default_factory=lambda: FlagPlace(pointer="", original="", existing=""))
    pdb: Object | None = None
    members: list[Member] = field(default_factory=list)
    statuses: dict[str, MemberStatus] = field(default_factory=dict)
    survivors: list[Survivor] = field(default_factory=list)
    replica: str = ""
    failed_member: Member = field(default_factory=lambda: Member(id="", peer_urls=[]))
    claim: Object = field(default_factory=dict)
    certificates_secret: str = ""
    data_path: str = ""
    node: Object = field(default_factory=dict)
    node_ready: bool = True
    volume_can_move: bool = False
    drained: list[DrainedPod] = field(default_factory=list)
    workflow_id: str = ""
    run_id: str = ""
    record: Record | None = None
    resume: Resume | None = None
    cordon_is_ours: bool = False
    stray_utility_uid: str | None = None
    node_lease: str = ""
    patient: bool = False
    """Whether there will be another try: what may pass by itself is no verdict then."""

    @property
    def joins_only(self) -> bool:
        """Whether nothing is evicted, mounted or wiped any more: the new member is there already."""
        return self.resume is not None and self.resume.step in (Phase.ADDING, Phase.RESTORING)

    @property
    def is_removed(self) -> bool:
        """Whether the failed member is not listed any more."""
        return self.resume is not None and self.resume.step is not Phase.PROTECTING

    @property
    def namespace(self) -> str:
        """The namespace of the user cluster."""
        return self.request.user_cluster

    @property
    def user_cluster(self) -> str:
        """The same, as the pins call it."""
        return self.request.user_cluster


def will_pass(looks: Looks, error: ReplacementError) -> bool:
    """Whether to look once more, since an API server that restarts, is busy or hung says nothing of the cluster.

    A conflict is an object that was made anew between two looks.
    """
    busy = isinstance(error, ClusterError) and (error.status == 429 or error.status >= 500)
    return looks.patient and (busy or isinstance(error, (Conflict, CutOff, Unreachable, Unauthenticated)))


async def look_at_each(looks: Looks, *parts: Callable[[Looks], Awaitable[None]]) -> None:
    """One part after the other; one that cannot be asked is a refusal, and the others are still asked."""
    for part in parts:
        name = part.__name__.strip("_").replace("_", " ")
        try:
            await part(looks)
        except ReplacementError as error:
            if will_pass(looks, error):
                raise
            looks.findings.refuse(name, f"could not be asked: {error}", "mend it, start again")
        if not looks.findings.may_go_on:
            return
