"""Kubernetes Events on the StatefulSet: `kubectl describe statefulset kube-etcd` tells the story of a replacement.

One for each phase that the record enters, sent beside the step that enters it. They are for people only: one that is
refused, or gets no answer, is forgotten.
"""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

from temporalio import activity

from activities.step import Toolbox
from replace_etcd.cluster import EVENT, Object
from replace_etcd.models.phase import Phase
from replace_etcd.models.plan import Pins
from replace_etcd.models.record import Record
from replace_etcd.models.result import Outcome

COMPONENT = "replace-etcd"
ANSWER_WITHIN = 5.0
LONGEST_MESSAGE = 1024  # of events.k8s.io, which shows the same objects

WORDS = {
    Phase.WAITING_FOR_NODE: "waits until no other replacement empties {node}",
    Phase.PROTECTING: "begins: member {member}, on {node}",
    Phase.DRAINING: "evicts {replica}, drains {node}",
    Phase.SNAPSHOTTING: "takes a snapshot of a survivor",
    Phase.REMOVING: "removes member {member}: from here on there is no way back",
    Phase.CLEANING: "empties the data directory of {replica}",
    Phase.ADDING: "adds the new member",
    Phase.REJOINING: "waits until the new member has caught up and votes",
    Phase.RESTORING: "puts flag, update strategy and PodDisruptionBudget back",
    Phase.VERIFYING: "verifies",
    Phase.HELD: "holds and waits for people: {reason}",
    Phase.ROLLING_BACK: "puts everything back",
}
WARNINGS = (Phase.HELD, Phase.ROLLING_BACK, Outcome.LEFT_INCOMPLETE, Outcome.INTERRUPTED, Outcome.ROLLED_BACK)
_under_way: set[asyncio.Task[None]] = set()


def announce(tools: Toolbox, record: Record, ended: Outcome | None = None) -> None:
    """Tell that the record has entered its phase, or has ended; returns at once."""
    if record.pins is None:
        return
    stage = ended or record.phase
    words = (
        f"ended: {stage.value.replace('_', ' ')}" if ended else WORDS.get(record.phase, record.phase.value)
    )
    said = words.format(
        replica=record.replica, node=record.node, member=record.member_id, reason=record.reason or "?"
    )
    because = f": {record.reason}" if ended and record.reason else ""
    message = f"replacement of {record.replica} {said}{because} ({record.workflow_id}, run {record.run_id})"
    kind = "Warning" if stage in WARNINGS else "Normal"
    reason = "Replacement" + "".join(word.capitalize() for word in stage.value.split("_"))
    event = _event(tools, record.pins, kind, reason, message[:LONGEST_MESSAGE])
    task = asyncio.create_task(_send(tools, event))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)


async def _send(tools: Toolbox, event: Object) -> None:
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await tools.cluster.create(EVENT, event, event["metadata"]["namespace"])
    except Exception as error:
        activity.logger.debug(f"no Event was written: {error}")


def _event(tools: Toolbox, pins: Pins, kind: str, reason: str, message: str) -> Object:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {
            "name": f"{tools.settings.stateful_set}.{uuid4().hex[:16]}",
            "namespace": pins.user_cluster,
        },
        "involvedObject": {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": tools.settings.stateful_set,
            "namespace": pins.user_cluster,
            "uid": pins.stateful_set_uid,
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": COMPONENT},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
