"""Looks at the admin cluster and at etcd from outside, and waits until both are as they should be."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from lab.etcd_gateway import EtcdGateway, NotSent, Refused, Unreachable
from lab.fixture.names import DISRUPTION_BUDGET, NAMESPACE, STATEFUL_SET
from lab.history import restart_count
from lab.kube_client import Json, KubeClient
from lab.models import Member, ObjectsView, PodView
from lab.nodes.tasks import cancelled

ANSWER_WITHIN, CATCH_UP_WITHIN = 2.0, 15.0
FLAG = re.compile(r"initial-cluster-state(?:=|\s+)(new|existing)")
VARIABLES = ("ETCD_INITIAL_CLUSTER_STATE", "STATE")
POLL = 0.05
API_SERVERS, OTHERS = 3, 1
"""Beside etcd and a DaemonSet, both with a pod for each member: API servers, and a pod of another user cluster."""
NO_ANSWER = (NotSent, Refused, Unreachable)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again until something holds; the time limit is the caller's."""
    while True:
        if await holds():
            return
        await asyncio.sleep(POLL)


def is_ready(item: Json) -> bool:
    """The Ready condition of a pod or node."""
    conditions = item.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


async def until_whole(client: KubeClient, members: int) -> None:
    """Until every pod is Ready and the PodDisruptionBudgets have counted them."""
    await until(lambda: _whole(client, members))


async def _whole(client: KubeClient, members: int) -> bool:
    found = await client.list("pods")
    if len(found) < 2 * members + API_SERVERS + OTHERS or not all(is_ready(pod) for pod in found):
        return False
    budgets = await client.list("poddisruptionbudgets", NAMESPACE)
    counted = {b["metadata"]["name"]: b.get("status", {}).get("currentHealthy") for b in budgets}
    return all(n == (members if name == DISRUPTION_BUDGET else API_SERVERS) for name, n in counted.items())


async def until_healthy(gateway: EtcdGateway, replicas: Sequence[str]) -> None:
    """Until every member has a leader."""
    for replica in replicas:
        await until(partial(_has_leader, gateway, replica))


async def _has_leader(gateway: EtcdGateway, replica: str) -> bool:
    found = await _or_none(gateway.status(replica))
    return found is not None and found.get("leader", "0") != "0"


async def _or_none(answer: Awaitable[Json]) -> Json | None:
    try:
        return await answer
    except NO_ANSWER:
        return None


@dataclass(frozen=True)
class EtcdView:
    """The user cluster's etcd as its members show it at one moment; all empty while none answers."""

    version: str
    leader: str | None
    members: list[Member]


async def etcd(gateway: EtcdGateway, replicas: Sequence[str]) -> EtcdView:
    """Ask every member for its status, and one that answers for the member list."""
    answers = await asyncio.gather(*(_or_none(gateway.status(name)) for name in replicas))
    found = {name: answer for name, answer in zip(replicas, answers, strict=True) if answer}
    leaders = [
        name for name, answer in found.items() if answer.get("leader") == answer["header"]["member_id"]
    ]
    healthy = {
        f"{int(answer['header']['member_id']):x}"
        for answer in found.values()
        if answer.get("leader", "0") != "0"
    }
    return EtcdView(
        version=next((str(answer["version"]) for answer in found.values()), ""),
        leader=leaders[0] if leaders else None,
        members=await _members(gateway, list(found), healthy),
    )


async def _members(gateway: EtcdGateway, answering: list[str], healthy: set[str]) -> list[Member]:
    for name in answering:
        try:
            listed = await gateway.members(name)
        except NO_ANSWER:
            continue
        members = [Member.model_validate({**item, "healthy": item["id"] in healthy}) for item in listed]
        return sorted(members, key=lambda member: member.name)
    return []


async def members_now(gateway: EtcdGateway, names: Sequence[str]) -> list[Member]:
    """The member list by a quorum's word, from whoever gets it first; empty while there is no quorum."""
    asked = [asyncio.create_task(gateway.members(name, linearizable=True)) for name in names]
    try:
        for answer in asyncio.as_completed(asked):
            with suppress(*NO_ANSWER):
                members = [Member.model_validate(item) for item in await answer]
                return sorted(members, key=lambda member: member.name)
    finally:
        await cancelled(*asked)
    return []


async def pods(client: KubeClient) -> list[PodView]:
    """The pods of the user cluster's namespace."""
    return [_pod(item) for item in await client.list("pods", NAMESPACE)]


def _pod(pod: Json) -> PodView:
    return PodView(
        name=pod["metadata"]["name"],
        uid=pod["metadata"]["uid"],
        node=pod["spec"].get("nodeName", ""),
        phase=pod["status"].get("phase", "Pending"),
        ready=is_ready(pod),
        restarts=restart_count(pod),
        address=pod["status"].get("podIP", ""),
    )


async def ready_nodes(client: KubeClient) -> dict[str, bool]:
    """Which node is Ready."""
    return {item["metadata"]["name"]: is_ready(item) for item in await client.list("nodes")}


async def objects(client: KubeClient) -> ObjectsView:
    """What a replacement has to leave as it was."""
    stateful_set, budget, nodes = await asyncio.gather(
        client.get("statefulsets", STATEFUL_SET, NAMESPACE),
        client.find("poddisruptionbudgets", DISRUPTION_BUDGET, NAMESPACE),
        client.list("nodes"),
    )
    template = json.dumps(stateful_set["spec"]["template"], sort_keys=True)
    return ObjectsView(
        pdb_spec=budget["spec"] if budget else None,
        initial_cluster_state=_flag(stateful_set),
        update_strategy=stateful_set["spec"]["updateStrategy"],
        template_hash=hashlib.sha256(template.encode()).hexdigest()[:16],
        unschedulable_nodes=sorted(n["metadata"]["name"] for n in nodes if n["spec"].get("unschedulable")),
    )


def _flag(stateful_set: Json) -> str:
    """The flag in any of its spellings (lab/fixture/shapes.py)."""
    containers = stateful_set["spec"]["template"]["spec"]["containers"]
    words = [word for item in containers for word in (*item.get("command", []), *item.get("args", []))]
    variables = [entry for item in containers for entry in item.get("env", []) if entry["name"] in VARIABLES]
    said = FLAG.findall(" ".join(words)) + [entry["value"] for entry in variables]
    return str(said[-1]) if said else ""


async def caught_up_keys(gateway: EtcdGateway, replica: str, prefix: str, revision: int) -> set[str] | None:
    """Every key as this member has it, once it has reached a revision; None if it does not answer.

    A member that answers is given time to catch up; one that does not, only as much as a restart takes.
    """
    clock = asyncio.get_running_loop().time
    began, keys, reached = clock(), None, 0
    while True:
        try:
            keys, reached = await gateway.keys(replica, prefix)
        except NO_ANSWER:
            keys, reached = None, 0
        patience = ANSWER_WITHIN if keys is None else CATCH_UP_WITHIN
        if (keys is not None and reached >= revision) or clock() - began > patience:
            return keys
        await asyncio.sleep(POLL)
