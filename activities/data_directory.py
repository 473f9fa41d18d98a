"""Step 7 of the runbook: empty the data directory of the removed member, and of nobody else.

A wipe under a running etcd passes every health check until that member's next restart. So the command guards
itself, inside the utility Pod, where no lost connection can part the look from the act: the Pod and the run are
the ones of the order, nobody holds the lock of `member/snap/db`, and what is deleted is only what one atomic
`mv` has put aside (docs/contract.md, Fencing, 4).
"""

from activities.fencing import fenced
from activities.node import keep_cordoned
from activities.standing_edit import edit_stands
from activities.step import Toolbox, step
from activities.survivors import Survivors
from replace_etcd.cluster import POD
from replace_etcd.errors import CommandFailed, Moved, UtilityPodGone, VolumeTaken
from replace_etcd.etcd import same_member
from replace_etcd.models.orders import Done, UtilityPodOrder
from replace_etcd.pod_template import uses_claim
from replace_etcd.utility_pod import CONTAINER, data_directory

WIPE_SECONDS = 300.0
REFUSED_EXIT_CODES = {
    21: "the utility Pod is not the one of the order",
    22: "an etcd runs on this directory",
    23: "member/ is not the directory that was seen when the utility Pod became Ready",
    24: "the data directory is a link, or not below the volume",
}
# $1 data directory, $2 POD_UID, $3 run token, $4 inode of member/ ("" where there was none), $5 token of the attempt
WIPE = r"""
set -eu
directory=$1
[ "${POD_UID:-}" = "$2" ] && [ "${RUN_TOKEN:-}" = "$3" ] || exit 21
case $directory in *..*) exit 24 ;; /var/lib/etcd|/var/lib/etcd/*) ;; *) exit 24 ;; esac
[ -e "$directory" ] || exit 0
cd "$directory"
[ "$(pwd -P)" = "$directory" ] || exit 24
aside=.replaced-$5
guard() {
  if [ -e member ] && [ "$(stat -c %i member)" != "$1" ]; then exit 23; fi
}
put_aside() {
  mkdir -p "$aside"
  if [ -e member ]; then mv member "$aside"/; fi
}
if [ -n "$4" ]; then guard "$4"; fi
if command -v flock >/dev/null 2>&1 && [ -f member/snap/db ]; then
  exec 9<member/snap/db
  flock -n 9 || exit 22
  put_aside
  exec 9<&-
else # nothing but the inode tells: a member/ that was not there when it was looked at is not ours to wipe
  guard "$4"
  put_aside
fi
find . -mindepth 1 -maxdepth 1 ! -name lost+found ! -name "$aside" ! -name '.replaced-*' -exec mv -f '{}' "$aside"/ ';'
find . -mindepth 1 -maxdepth 1 -name '.replaced-*' -exec rm -rf '{}' +
find . -mindepth 1 -maxdepth 1 ! -name lost+found
"""


class DataDirectoryActivities:
    """The step that wipes."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._survivors = Survivors(tools)

    @step
    async def clean_data_directory(self, order: UtilityPodOrder) -> Done:
        """Empty the directory, dot files included, and see that it is empty; an empty one is done.

        `Moved` where a member with this name or peer URL is still listed (one member id per life of a
        directory: a wiped voter that keeps its id lost acknowledged writes), or another pod is still on the volume.
        `UtilityPodGone` where there is nothing to empty it through, `VolumeTaken` where a pod came to the volume that
        nobody deletes: somebody uncordoned the node.
        """
        pins = order.pins
        async with (
            fenced(self._tools, order) as attempt,
            edit_stands(self._tools, attempt, pins),
        ):
            await keep_cordoned(self._tools, attempt, pins)
            await self._must_be_removed(order)
            await self._must_be_alone(order)
            await attempt.hold()
            command = ["/bin/sh", "-c", WIPE, "sh", data_directory(pins), order.utility_uid]
            command += [order.fence.first_run_id, order.member_inode, attempt.token]
            answer = await self._tools.cluster.execute(
                pins.user_cluster, self._utility_pod(order), CONTAINER, command, seconds=WIPE_SECONDS
            )
        if answer.exit_code in REFUSED_EXIT_CODES:
            raise Moved(f"the wipe refused itself: {REFUSED_EXIT_CODES[answer.exit_code]}")
        if answer.exit_code != 0:
            raise CommandFailed("the wipe", answer.exit_code, answer.stderr)
        if answer.stdout.strip():
            raise CommandFailed("the wipe", 0, f"the directory is not empty: {answer.stdout}")
        return Done(note=f"{pins.claim}: {pins.data_path} is empty")

    async def _must_be_removed(self, order: UtilityPodOrder) -> None:
        pins = order.pins
        for member in await self._survivors.members(pins):
            if same_member(member, pins.member_name, pins.peer_urls):
                raise Moved(f"member {member.id} still stands under this name or peer URL; nothing is wiped")

    async def _must_be_alone(self, order: UtilityPodOrder) -> None:
        pins = order.pins
        pods = await self._tools.cluster.find(POD, pins.user_cluster)
        for pod in pods:
            metadata = pod["metadata"]
            on_node = pod["spec"].get("nodeName")
            if uses_claim(pod, pins.claim) and on_node and metadata["uid"] != order.utility_uid:
                goes = Moved if metadata.get("deletionTimestamp") else VolumeTaken
                raise goes(f"pod {metadata['name']} uses {pins.claim} on {on_node}; nothing is wiped")
        if all(pod["metadata"]["uid"] != order.utility_uid for pod in pods):
            raise UtilityPodGone(f"pod {self._utility_pod(order)}, uid {order.utility_uid}, is gone")

    def _utility_pod(self, order: UtilityPodOrder) -> str:
        return f"{self._tools.settings.utility_name_prefix}-{order.pins.ordinal}"
