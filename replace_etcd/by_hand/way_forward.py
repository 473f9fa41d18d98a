"""After the removal: a new member, and then everything back, by hand (docs/contract.md, Order of the steps, 7 and 8).

`existing` and `OnDelete` stay until all voters have started: only then may a pod be restarted, or the flag go back.
"""

from replace_etcd.by_hand.names import as_printed, pods
from replace_etcd.by_hand.shell import Step, fed, quote, words_of
from replace_etcd.by_hand.steps import CORDON, Steps, must_be, put
from replace_etcd.utility_pod import CONTAINER, data_directory, utility_pod

# The guards are those of activities/data_directory.py: not through a link, not under a running etcd.
WIPE = (
    '[ ! -e "$1" ] && exit 0; cd "$1" && [ "$(pwd -P)" = "$1" ] || exit 1; '
    "if [ -f member/snap/db ] && command -v flock >/dev/null; then flock -n member/snap/db true || exit 1; fi; "
    "find . -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} + && "
    '[ -z "$(find . -mindepth 1 -maxdepth 1 ! -name lost+found)" ]'
)


class WayForward(Steps):
    """From the removal to as many voters as there were."""

    def edit_stands(self) -> Step:
        """`existing` and `OnDelete` are the safe resting state until the new member is a voter."""
        flag = self.pins.flag
        on_delete = [put("/spec/updateStrategy", {"type": "OnDelete"})]
        commands = [self.patch_template(on_delete)]
        if self.has_flag:
            edit = self.patch_template(
                [must_be(flag.pointer, flag.original), put(flag.pointer, flag.existing)]
            )
            commands.append(f'[ "$(flag)" = {as_printed(flag.existing)} ] ||\n  {edit}')
        delete = f"{self.kubectl} delete pod {self.replica} --ignore-not-found --grace-period=3"
        commands.append("wait_until observed")
        commands.append(f'[ "$(flag_in {self.replica})" = {as_printed(flag.existing)} ] || {delete}')
        return Step(
            f"Make sure that updateStrategy is OnDelete, and the flag existing, also in {self.pins.replica}.",
            commands,
        )

    def remove(self) -> Step:
        """A literal id: a re-resolved one once removed the new member."""
        member = quote(self.pins.member_id)
        return Step(
            f"Remove the old member {self.pins.member_id}, by exactly this id.",
            [f"until removed; do etcdctl_in {self.survivor} member remove {member} || true; sleep 1; done"],
            words="If the list of step 3 shows the id, the removal was not sent, or is not applied yet: this sends"
            " it (again). If it does not, the removal has happened, and this does nothing. Either way there is"
            " no way back from here.",
        )

    def disarm(self) -> list[Step]:
        """What the removed member has raised keeps writes refused."""
        try:
            number = int(self.pins.member_id, 16)
        except ValueError:
            return []
        own = f"""alarms=$(etcdctl_in {self.survivor} alarm list) && [ -n "$alarms" ] &&"""
        other = f"""! printf '%s\\n' "$alarms" | grep -qv '^memberID:{number} '"""
        return [
            Step(
                "Disarm an alarm that the old member has left behind.",
                [f"if {own} {other}; then etcdctl_in {self.survivor} alarm disarm; fi"],
                words="Usually there is none.",
            )
        ]

    def patience(self) -> Step:
        """A learner that makes progress is never wiped."""
        return Step(
            "Give the new member ten minutes to start.",
            ["tries=0; until started || [ $tries -ge 600 ]; do tries=$((tries + 1)); sleep 1; done"],
            words=f"Normally it needs seconds. If the log of {self.pins.replica} shows that it still receives a"
            " snapshot, repeat this step instead of going on.",
        )

    def drop_unstarted(self) -> Step:
        """One member id for each life of a directory: what is about to be wiped is removed first."""
        return Step(
            "A new member that is listed and has not started is removed, to begin anew with an empty directory.",
            [f'etcdctl_in {self.survivor} member remove "$(new_id)"', "wait_until absent"],
            words="Does nothing where it has started, or where none is listed.",
            only_if="unstarted",
        )

    def empty_directory(self) -> list[Step]:
        """Cordon, utility Pod, wipe: each only while nobody lists the member under its name or address."""
        pins, again = self.pins, "Does nothing where the new member is listed already."
        node, holder = quote(pins.node), quote(f"{CORDON}{pins.user_cluster}=cordoned")
        manifest = utility_pod(pins, self.settings, self.record.first_run_id, self.record.generation)
        delete = f"{self.kubectl} delete pod --ignore-not-found"
        room = [
            f"kubectl cordon {node}",
            f"kubectl annotate node {node} {holder} --overwrite",
            f"{delete} {self.utility} --grace-period=1",
            fed(f"{self.kubectl} apply", manifest),
            f"{delete} {self.replica} --grace-period=3",
            f"{self.kubectl} wait --for=condition=Ready pod/{self.utility} --timeout=180s",
        ]
        path = data_directory(pins)
        free = f"""node=$(look pod {self.replica} '{{.spec.nodeName}}') && [ -z "$node" ]"""
        inside = words_of(["sh", "-c", WIPE, "sh", path])
        wipe = f"{free} &&\n  {self.kubectl} exec {self.utility} -c {CONTAINER} -- {inside} ||"
        why = f"{pins.claim} is not empty: {pins.replica} may run on it"
        return [
            Step(
                f"Cordon {pins.node}, mount the old member's volume in a utility Pod, end {pins.replica}.",
                room,
                words=f"{again} {pins.replica} comes back at once and stays Pending.",
                only_if="absent",
            ),
            Step(
                f"Empty the data directory {path} of the utility Pod.",
                [f"{wipe}\n  stop {quote(why)}"],
                words=again,
                only_if="absent",
            ),
            self.no_utility_pod(),
        ]

    def add(self) -> Step:
        """What the runbook forgets."""
        pins = self.pins
        kind = ["--learner"] if pins.join_as_learner else []
        words = words_of([pins.member_name, f"--peer-urls={','.join(pins.peer_urls)}", *kind])
        return Step(
            f"Add {pins.member_name} to the members again.",
            [f"until listed; do etcdctl_in {self.survivor} member add {words} || true; sleep 1; done"],
            words="For some seconds after the removal etcd answers `unhealthy cluster`; it is tried again.",
        )

    def join(self) -> Step:
        """Started, in sync, a voter that answers by itself."""
        promote = f'etcdctl_in {self.survivor} member promote "$(new_id)" || true'
        wait = "wait_until voter"
        if self.pins.join_as_learner:
            wait = f"until voter; do {promote}; sleep 1; done"
        return Step(
            f"Wait until the new member is one of {self.pins.voters} started voters.",
            [wait],
            words="A learner is promoted as soon as it is in sync; until then etcd refuses, and it is tried again."
            " To watch it in another terminal:",
            aside=f"{self.kubectl} logs -f {self.replica}",
        )

    def flag_back(self) -> list[Step]:
        """The flag may go back now, and no pod moves: the strategy is still `OnDelete`."""
        flag = self.pins.flag
        if not self.has_flag:
            return []
        changes = [
            must_be(flag.pointer, flag.existing),
            put("/spec/updateStrategy", {"type": "OnDelete"}),
            put(flag.pointer, flag.original),
        ]
        return [
            Step(
                f"Now that {self.pins.voters} voters are healthy: the flag back, with OnDelete still there.",
                [
                    "wait_until healthy",
                    f'[ "$(flag)" = {as_printed(flag.original)} ] ||\n  {self.patch_template(changes)}',
                    "wait_until observed",
                ],
            ),
            self._restarts(),
        ]

    def _restarts(self) -> Step:
        existing = as_printed(self.pins.flag.existing)
        restart = (
            f'restart() (\n[ "$(flag_in "$1")" = {existing} ] || exit 0\nwait_until healthy\n'
            f'etcdctl_in "$1" move-leader "$2" || true\n{self.kubectl} delete pod "$1"\n'
            'wait_until pod_as_before "$1"\nwait_until healthy\n)'
        )
        first, *others = self.pins.survivors
        heirs = {first.pod: others[0].member_id if others else first.member_id}
        calls = [words_of(["restart", pod, heirs.get(pod, first.member_id)]) for pod in pods(self.pins)]
        return Step(
            "Restart each pod that still carries existing, one at a time: normally only the replaced one.",
            [restart, *calls],
            words="Leadership is moved away first; `not the leader` is no error here.",
        )

    def strategy_back(self) -> Step:
        """Last of the StatefulSet: nothing is left to be rolled out."""
        why = "a pod differs from the template, and RollingUpdate would restart it: OnDelete stays; ask for help"
        strategy = self.patch_template([put("/spec/updateStrategy", self.pins.update_strategy)])
        return Step(
            f"The update strategy back: {self.pins.update_strategy}.",
            ["wait_until observed", f"settled &&\n  {strategy} ||\n  stop {quote(why)}"],
        )
