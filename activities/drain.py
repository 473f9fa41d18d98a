"""What `kubectl drain` does, as a plan that can be read first and as the act.

The filters are kubectl's (https://github.com/kubernetes/kubectl/blob/master/pkg/drain/filters.go): finished pods
go, DaemonSet pods and mirror pods stay, unmanaged pods and emptyDir data need a consent. Beyond kubectl: no
etcd pod but the failed one is ever evicted.
"""

import asyncio
import re

from activities.fencing import Attempt
from activities.side_by_side import side_by_side
from activities.step import Toolbox, tell
from replace_etcd.cluster import POD, Object
from replace_etcd.errors import ClusterError, DrainBlocked, NotYet, OutcomeUnknown
from replace_etcd.models.orders import DrainOrder
from replace_etcd.models.plan import DrainedPod

BLOCKED_RETRY_SECONDS = 5.0  # as kubectl waits between two tries of an eviction that a budget blocks
GONE_SECONDS = 600.0
NAMED = 3  # pods that a heartbeat names: it is read on one line
MIRROR = "kubernetes.io/config.mirror"


def verdict(pod: Object, *, delete_emptydir_data: bool, force: bool, etcd_name: str) -> tuple[bool, str, str]:
    """Whether to evict a pod, why not, and what forbids the drain altogether (empty where nothing does)."""
    metadata, spec = pod["metadata"], pod["spec"]
    owner = next((o for o in metadata.get("ownerReferences") or [] if o.get("controller")), None)
    finished = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    volumes = spec.get("volumes") or []
    if MIRROR in (metadata.get("annotations") or {}):
        return False, "mirror pod", ""
    if owner is not None and owner["kind"] == "DaemonSet" and not finished:
        return False, "DaemonSet pod", ""
    if _is_etcd(pod, etcd_name):
        return False, "etcd pod", "it is an etcd pod of another user cluster; use drain: replica"
    if any("emptyDir" in volume for volume in volumes) and not delete_emptydir_data and not finished:
        return False, "emptyDir data", "its emptyDir data would be lost; set delete_emptydir_data"
    if owner is None and not finished and not force:
        return False, "unmanaged", "no controller would bring it back; set force_drain or use drain: replica"
    return True, "", ""


async def drain_verdicts(
    tools: Toolbox, node: str, *, delete_emptydir_data: bool, force: bool, skip: set[str]
) -> tuple[list[DrainedPod], list[str]]:
    """Every pod on the node with its verdict, and what forbids the drain."""
    rows, forbidden = [], []
    for pod in await tools.cluster.find(POD, fields=f"spec.nodeName={node}"):
        metadata = pod["metadata"]
        if metadata["uid"] in skip:
            continue
        evict, reason, objection = verdict(
            pod,
            delete_emptydir_data=delete_emptydir_data,
            force=force,
            etcd_name=tools.settings.stateful_set,
        )
        name, namespace = metadata["name"], metadata["namespace"]
        rows.append(
            DrainedPod(
                namespace=namespace, name=name, uid=metadata["uid"], evict=evict, reason=reason or objection
            )
        )
        if objection:
            forbidden.append(f"{namespace}/{name}: {objection}")
    return rows, forbidden


class Drain:
    """One attempt to empty the node."""

    def __init__(self, tools: Toolbox, order: DrainOrder, attempt: Attempt) -> None:
        self._tools = tools
        self._order = order
        self._attempt = attempt
        self._skip = {*order.skip_uids, order.pins.pod_uid}
        self._going = 0
        self._stays: dict[str, str] = {}  # the pods that are not gone yet, and why not

    async def run(self) -> list[str]:
        """Evict every pod that is to go, and wait until each is gone; returns their names.

        The pods are those of the first look, as in kubectl: one that comes back to the node (it tolerates the
        cordon) is not evicted again.
        """
        rows, forbidden = await drain_verdicts(
            self._tools,
            self._order.pins.node,
            delete_emptydir_data=self._order.delete_emptydir_data,
            force=self._order.force,
            skip=self._skip,
        )
        if forbidden:
            raise DrainBlocked("; ".join(forbidden))
        going = [row for row in rows if row.evict]
        self._going = len(going)
        self._stays = {_name(row): "to be evicted" for row in going}
        self._tell()
        await self._until_gone(going)
        return [row.name for row in going]

    async def _until_gone(self, going: list[DrainedPod]) -> None:
        """`OutcomeUnknown` where one fails while the eviction of another may still take effect."""
        try:
            await side_by_side(*(self._evict_and_wait(row) for row in going))
        except (ClusterError, NotYet) as error:
            if self._attempt.nothing_under_way:
                raise
            raise OutcomeUnknown(f"an eviction had no answer yet when another failed: {error}") from error

    async def _evict_and_wait(self, row: DrainedPod) -> None:
        while why := await self._evict(row):
            self._tell(row, f"blocked: {why}")
            await asyncio.sleep(BLOCKED_RETRY_SECONDS)
        self._tell(row, "is ending")
        await self._gone(row)
        del self._stays[_name(row)]
        self._tell()

    def _tell(self, row: DrainedPod | None = None, why: str = "") -> None:
        """How many pods are gone, and what each of the others waits for."""
        if row is not None:
            self._stays[_name(row)] = why
        stays = "".join(f"; {name} {why}" for name, why in list(self._stays.items())[:NAMED])
        more = f"; and {len(self._stays) - NAMED} more" if len(self._stays) > NAMED else ""
        tell(f"{self._going - len(self._stays)} of {self._going} pods gone{stays}{more}")

    async def _evict(self, row: DrainedPod) -> str:
        """Ask for the eviction; returns why a budget blocks it."""
        await self._attempt.hold()
        try:
            eviction = await self._tools.cluster.evict(row.namespace, row.name, uid=row.uid)
        except ClusterError as error:
            self._attempt.settled()
            if error.status == 409:  # another pod has the name by now: the one that was to go is gone
                return ""
            if any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
                return "its namespace is being deleted"
            raise
        self._attempt.settled()
        return "" if eviction.admitted else eviction.reason

    async def _gone(self, row: DrainedPod) -> None:
        try:
            await self._tools.cluster.wait_for(
                POD,
                row.name,
                row.namespace,
                lambda pod: pod is None or pod["metadata"]["uid"] != row.uid,
                seconds=GONE_SECONDS,
            )
        except NotYet as error:
            raise NotYet(f"pod {row.namespace}/{row.name} was evicted and does not end") from error


def _name(row: DrainedPod) -> str:
    return f"{row.namespace}/{row.name}"


def _is_etcd(pod: Object, etcd_name: str) -> bool:
    return re.fullmatch(rf"{re.escape(etcd_name)}-\d+", pod["metadata"]["name"]) is not None
