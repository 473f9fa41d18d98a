"""Scripted activities: the choreography is tested with every answer of the cluster written down.

One dynamic activity stands for all of them; it answers as the real ones do when all goes well, records the
orders, and fails where the script says so. What the real activities do is tested against real servers elsewhere.
"""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from replace_etcd.audit.events import AuditEvent
from replace_etcd.models.notice import Notice
from replace_etcd.models.orders import (
    AuditOrder,
    BackedUp,
    Done,
    MemberAdded,
    MemberRemoved,
    MembersSeen,
    NodeTaken,
    NoticeOrder,
    Preflighted,
    Recalled,
    RemovalSettled,
    SnapshotTaken,
    UtilityPodReady,
)
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Backup, Check, FlagPlace, Member, Pins, Plan, Survivor, Verdict
from workflows import options

PINS = Pins(
    user_cluster="user-cluster-1",
    replica="kube-etcd-1",
    ordinal=1,
    voters=3,
    member_id="b1",
    member_name="kube-etcd-1",
    peer_urls=["https://kube-etcd-1.kube-etcd:2380"],
    client_urls=["https://kube-etcd-1.kube-etcd:2379"],
    etcd_version="3.5.35",
    join_as_learner=True,
    survivors=[
        Survivor(pod="kube-etcd-0", pod_uid="uid-0", member_id="a0"),
        Survivor(pod="kube-etcd-2", pod_uid="uid-2", member_id="c2"),
    ],
    stateful_set_uid="uid-sts",
    container="kube-etcd",
    flag=FlagPlace(
        pointer="/spec/template/spec/containers/0/args/3",
        original="--initial-cluster-state=new",
        existing="--initial-cluster-state=existing",
    ),
    update_strategy={"type": "RollingUpdate"},
    pod_uid="uid-1",
    claim="data-kube-etcd-1",
    claim_uid="uid-claim",
    certificates_secret="kube-etcd-certs-x",
    data_path=".",
    node="node-2",
    node_uid="uid-node",
    node_hostname="node-2",
    pdb="kube-etcd-pdb",
    pdb_uid="uid-pdb",
    pdb_mode="delete",
    drain_mode="node",
)
PLAN = Plan(
    checks=[Check(name="quorum", verdict=Verdict.OK, evidence="2 of 3")],
    actions=["..."],
    pins=PINS,
    made_at=datetime(2026, 1, 1, tzinfo=UTC),
)
REFUSING = PLAN.model_copy(
    update={
        "pins": None,
        "checks": [Check(name="quorum", verdict=Verdict.REFUSE, evidence="1 of 3", way_out="recover it")],
    }
)
VOTERS = [
    Member(id=i, name=f"kube-etcd-{n}", peer_urls=[f"https://kube-etcd-{n}:2380"])
    for n, i in enumerate("abc")
]
BACKUP = Backup(manifest={"metadata": {"name": "kube-etcd-pdb"}, "spec": {"minAvailable": 2}})


class Script:
    """What each activity answers, and what was asked of it."""

    def __init__(self) -> None:
        self.queue = uuid.uuid4().hex  # what an earlier test left running asks nobody of a later one
        self.calls: list[str] = []  # steps only: what is told of them comes beside them
        self.events: list[AuditEvent] = []
        self.deliveries: list[int] = []
        self.notices: list[Notice] = []
        self.out_of_reach: set[str] = set()
        self.orders: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, ApplicationError] = {}
        self.always: dict[str, ApplicationError] = {}
        self.waits: dict[str, asyncio.Event] = {}
        self.says: dict[str, str] = {}
        self.requests_cancellation_of: WorkflowHandle[Any, Any] | None = None
        self.begun: dict[str, asyncio.Event] = {}
        self.answers: dict[str, Done] = {
            "preflight": Preflighted(plan=PLAN),
            "back_up_pod_disruption_budget": BackedUp(backup=BACKUP),
            "create_utility_pod": UtilityPodReady(uid="uid-utility", member_inode="7"),
            "take_node": NodeTaken(),
            "take_snapshot": SnapshotTaken(),
            "remove_member": MemberRemoved(members=VOTERS[:2]),
            "recall_what_was_begun": Recalled(pins=PINS, way_back=True, furthest=Phase.DRAINING),
            "settle_removal": RemovalSettled(may_be_sent=True),
            "add_member": MemberAdded(member_id="b2", members=VOTERS),
            "wait_for_voter": MembersSeen(members=VOTERS),
            "verify_replacement": MembersSeen(members=VOTERS),
        }

    def fail(self, name: str, kind: str = "Invalid") -> None:
        """Let an activity fail for good, once: as a compensation it works."""
        self.errors[name] = ApplicationError(f"{name} went wrong", type=kind, non_retryable=True)

    def block(self, name: str, *, saying: str = "") -> asyncio.Event:
        """Let an activity wait until the test sets the event; returns the event that says that it has begun."""
        self.says[name] = saying
        self.waits[name] = asyncio.Event()
        self.begun[name] = asyncio.Event()
        return self.begun[name]

    def release(self, name: str) -> None:
        """Let a blocked activity finish."""
        self.waits[name].set()

    @activity.defn(dynamic=True)
    async def play(self, arguments: Sequence[RawValue]) -> Any:
        """Every activity."""
        name = activity.info().activity_type
        order = activity.payload_converter().from_payload(arguments[0].payload, dict)
        is_step = name not in options.TELLING
        if is_step:
            self.calls.append(name)
            self.orders[name] = order
        if name in self.waits:
            self.begun[name].set()
            await self._wait(name)
        if name == "request_cancellation" and self.requests_cancellation_of:
            await self.requests_cancellation_of.cancel()
        if name in self.errors:
            raise self.errors.pop(name)
        if not is_step:
            return self._hear(name, order)
        if name in self.always:
            raise self.always[name]
        return self.answers.get(name, Done()).model_copy(update={"attempts": activity.info().attempt})

    def _hear(self, name: str, order: dict[str, Any]) -> Done:
        """As the store and the receivers do: a repeat is known as one."""
        if name in self.out_of_reach:
            raise ApplicationError(f"{name}: nobody answers")
        if name == "send_notification":
            self.notices.append(NoticeOrder.model_validate(order).notice)
            return Done()
        known = {(event.run_id, event.key) for event in self.events}
        told = AuditOrder.model_validate(order).events
        self.deliveries.append(len(told))
        self.events += [event for event in told if (event.run_id, event.key) not in known]
        return Done()

    async def _wait(self, name: str) -> None:
        """Wait as a real activity does: a cancel reaches it with a heartbeat."""
        while not self.waits[name].is_set():
            activity.heartbeat(self.says[name])
            try:
                await asyncio.wait_for(self.waits[name].wait(), 0.05)
            except TimeoutError:
                continue
