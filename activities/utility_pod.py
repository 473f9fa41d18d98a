"""Steps 6 and 8 of the runbook: the utility Pod, which mounts the volume of the failed member.

It is made before the eviction, while there is a way back: it pins a volume that can move, and a bad image, a
missing Secret or a volume that cannot attach is found in time. It ends when it is told to, and its grace period is a
second: the vendor's ignores SIGTERM, so that by hand its deletion takes 32 s.
"""

from activities.fencing import Attempt, fenced
from activities.step import Toolbox, step, tell
from replace_etcd.cluster import POD, Object
from replace_etcd.errors import CommandFailed, Moved
from replace_etcd.models.orders import Done, Order, UtilityPodReady
from replace_etcd.models.plan import Pins
from replace_etcd.pod_template import is_ready, uses_claim
from replace_etcd.utility_pod import CONTAINER, DATA, RUN_LABEL, data_directory, name_of, utility_pod

READY_SECONDS = 90.0
GONE_SECONDS = 60.0
EXEC_SECONDS = 20.0
# $1 data directory, $2 root of the volume. A data directory that was told wrong would be wiped to no effect: where
# member/ is not in it, it must be nowhere else either, but in what an interrupted wipe has put aside.
LOOK = r"""
for tool in sh mv rm find stat sleep; do command -v "$tool" >/dev/null || exit 3; done
[ -e "$1/member" ] && exec stat -c %i "$1/member"
found=$(find "$2" -maxdepth 6 -type d -path '*/member/wal' ! -path '*/.replaced-*')
[ -z "$found" ] || { echo "$found"; exit 4; }
"""


class UtilityPodActivities:
    """Steps that act on the utility Pod."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def create_utility_pod(self, order: Order) -> UtilityPodReady:
        """Create the Pod, or adopt our own after a retry; wait until it is Ready, then try its tools.

        Its result carries the inode of `member/`, which the wipe confirms where the image has no `flock`.
        """
        pins = order.pins
        name = self.name(pins)
        async with fenced(self._tools, order) as attempt:
            pod = await self._tools.cluster.get(POD, name, pins.user_cluster)
            if pod is not None and self._is_left_over(pod, order):
                await self._delete(attempt, pod)
                pod = None
            if pod is not None:
                self._must_be_ours(pod, order)
            else:
                await attempt.hold()
                manifest = utility_pod(
                    pins, self._tools.settings, order.fence.first_run_id, order.fence.generation
                )
                pod = await self._tools.cluster.create(POD, manifest, pins.user_cluster)
                attempt.settled()  # it may be long until it is Ready
            uid = pod["metadata"]["uid"]
            tell(f"waiting until pod {name} is Ready")
            await self._tools.cluster.wait_for(POD, name, pins.user_cluster, is_ready, seconds=READY_SECONDS)
            inode = await self._look(pins, name)
        return UtilityPodReady(
            uid=uid, member_inode=inode, note=f"pod {name} on {pins.node}, {pins.claim} mounted"
        )

    @step
    async def delete_utility_pod(self, order: Order) -> Done:
        """Delete our utility Pod and wait until it is gone: only then may the member start on its volume."""
        pins = order.pins
        name = self.name(pins)
        async with fenced(self._tools, order) as attempt:
            pod = await self._tools.cluster.get(POD, name, pins.user_cluster)
            if pod is None:
                return Done(note="it is gone already")
            if not _is_ours(pod, order) and not self._is_left_over(pod, order):
                return Done(note=f"moot: pod {name} is not of this replacement")
            await self._delete(attempt, pod)
        return Done()

    def name(self, pins: Pins) -> str:
        """The vendor's name: the prefix and the member's ordinal."""
        return name_of(pins, self._tools.settings)

    async def _delete(self, attempt: Attempt, pod: Object) -> None:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        await attempt.hold()
        await self._tools.cluster.delete(POD, metadata["name"], metadata["namespace"], uid=uid, grace=1)
        await self._tools.cluster.wait_for(
            POD,
            metadata["name"],
            metadata["namespace"],
            lambda found: found is None or found["metadata"]["uid"] != uid,
            seconds=GONE_SECONDS,
        )

    def _is_left_over(self, pod: Object, order: Order) -> bool:
        """Whether an earlier run whose record was taken over, or a person with the runbook, has left it."""
        run = (pod["metadata"].get("labels") or {}).get(RUN_LABEL)
        left_by_run = run != order.fence.first_run_id and run in order.fence.heir_of
        return left_by_run or pod["metadata"]["uid"] == order.pins.stray_utility_uid

    def _must_be_ours(self, pod: Object, order: Order) -> None:
        name = pod["metadata"]["name"]
        if not _is_ours(pod, order):
            raise Moved(f"pod {name} is there and is not of this replacement; delete it, then start again")
        if not uses_claim(pod, order.pins.claim):
            raise Moved(f"pod {name} does not mount {order.pins.claim}")

    async def _look(self, pins: Pins, name: str) -> str:
        """Try the tools and see `member/`, whose absence (a wiped volume) is no obstacle."""
        directory = data_directory(pins)
        answer = await self._tools.cluster.execute(
            pins.user_cluster,
            name,
            CONTAINER,
            ["/bin/sh", "-c", LOOK, "sh", directory, DATA],
            seconds=EXEC_SECONDS,
        )
        if answer.exit_code == 3:
            raise CommandFailed(
                "looking for sh, mv, rm, find, stat and sleep in the utility Pod", 3, answer.stderr
            )
        if answer.exit_code == 4 and not pins.is_removed:
            raise Moved(f"the data is not in {directory} but in {answer.stdout.strip()}: nothing is touched")
        return answer.stdout.strip() if answer.exit_code == 0 else ""


def _is_ours(pod: Object, order: Order) -> bool:
    """Made by this run, or by one whose record it has taken over."""
    run = (pod["metadata"].get("labels") or {}).get(RUN_LABEL)
    return run is not None and run in (order.fence.first_run_id, *order.fence.heir_of)
