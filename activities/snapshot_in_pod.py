"""The utility Pod's end of a snapshot: taken from a survivor over the network, into the Pod's own emptyDir.

Nothing large is ever written in a survivor's pod: a full volume there costs the quorum. The time limit is inside the
command, since a command outlives its connection; so whoever comes next ends what is left of earlier attempts and
removes their files (docs/contract.md, Fencing, 7).
"""

from activities.step import Toolbox
from activities.survivors import output_of
from replace_etcd.cluster import CommandResult, Sink
from replace_etcd.errors import CommandFailed, Moved, SnapshotDamaged
from replace_etcd.etcd import etcdctl
from replace_etcd.models.orders import SnapshotOrder
from replace_etcd.snapshot import SnapshotStatus, free_bytes, parse_snapshot_status
from replace_etcd.utility_pod import CONTAINER, SCRATCH, name_of

PREPARE_SECONDS = 30
SAVE_SECONDS = 600
STATUS_SECONDS = 180
STREAM_SECONDS = 900
SILENCE_SECONDS = 30.0
EXEC_MARGIN_SECONDS = 10.0
NOT_THE_POD = 21
# $1 where the files are, $2 uid of the Pod. A mark holds the pid of an attempt's command; pids are used again, so
# that its command line has to name the attempt, too.
PREPARE = r"""
set -u
[ "${POD_UID:-}" = "$2" ] || exit 21
for mark in "$1"/*.pid; do
  [ -e "$mark" ] || continue
  attempt=${mark##*/} pid=$(cat "$mark")
  case $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") in *"${attempt%.pid}"*) ;; *) continue ;; esac
  kill "$pid"
  for _ in 1 2 3 4 5; do kill -0 "$pid" 2>/dev/null || break; sleep 1; done
done
find "$1" -mindepth 1 -maxdepth 1 -type f -exec rm -f '{}' +
df -Pk "$1"
"""
# $1 mark, $2 seconds, then the command. It takes the shell's place, so that the mark names it.
LIMITED = r"""
mark=$1 limit=$2
shift 2
echo "$$" >"$mark"
if timeout 1 sh -c : 2>/dev/null; then exec timeout "$limit" "$@"; fi
exec "$@"
"""
# 3.6 has `snapshot status` in etcdutl only, 3.4 in etcdctl only.
STATUS = r"""
set -eu
stat -c %s "$1"
if command -v etcdutl >/dev/null 2>&1; then exec etcdutl snapshot status "$1" -w json; fi
exec etcdctl snapshot status "$1" -w json
"""


class SnapshotInPod:
    """The file of one attempt, which carries the attempt's token in its name."""

    def __init__(self, tools: Toolbox, order: SnapshotOrder, token: str) -> None:
        self._tools = tools
        self._order = order
        self._mark = f"{SCRATCH}/{token}.pid"
        self.path = f"{SCRATCH}/{token}.db"

    async def make_room(self) -> int:
        """End what is left of earlier attempts; returns the bytes that are free then."""
        command = ["/bin/sh", "-c", PREPARE, "sh", SCRATCH, self._order.utility_uid]
        answer = await self._execute(command, PREPARE_SECONDS)
        if answer.exit_code == NOT_THE_POD:
            raise Moved("the utility Pod is not the one of the order")
        found = output_of(f"making room in {SCRATCH} of the utility Pod", answer)
        try:
            return free_bytes(found)
        except ValueError as error:
            raise CommandFailed("df -Pk", answer.exit_code, str(error)) from error

    async def save(self, endpoint: str) -> None:
        """Let a survivor send its database."""
        command = etcdctl(
            ["snapshot", "save", self.path],
            certificates=self._tools.settings.certificates_directory,
            endpoint=endpoint,
            seconds=SAVE_SECONDS,
        )
        answer = await self._execute(self._limited(command, SAVE_SECONDS), SAVE_SECONDS)
        output_of(f"etcdctl snapshot save from {endpoint}", answer)

    async def look(self) -> tuple[int, SnapshotStatus]:
        """The size of the file, and what etcd's own tool reads in it."""
        command = ["/bin/sh", "-c", STATUS, "sh", self.path]
        answer = await self._execute(self._limited(command, STATUS_SECONDS), STATUS_SECONDS)
        size, _, status = output_of("snapshot status", answer).partition("\n")
        return int(size), parse_snapshot_status(status)

    async def stream(self, sink: Sink) -> None:
        """Hand the file to the sink."""
        answer = await self._tools.cluster.stream(
            *self._where(),
            self._limited(["cat", self.path], STREAM_SECONDS),
            sink,
            seconds=STREAM_SECONDS + EXEC_MARGIN_SECONDS,
            silence=SILENCE_SECONDS,
        )
        if answer.exit_code != 0:
            raise SnapshotDamaged(
                f"reading {self.path} ended with {answer.exit_code}: {answer.stderr.strip()}"
            )

    def _limited(self, command: list[str], seconds: int) -> list[str]:
        return ["/bin/sh", "-c", LIMITED, "sh", self._mark, str(seconds), *command]

    def _where(self) -> tuple[str, str, str]:
        pins = self._order.pins
        return pins.user_cluster, name_of(pins, self._tools.settings), CONTAINER

    async def _execute(self, command: list[str], seconds: int) -> CommandResult:
        limit = seconds + EXEC_MARGIN_SECONDS
        return await self._tools.cluster.execute(*self._where(), command, seconds=limit)
