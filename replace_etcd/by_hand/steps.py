"""The steps that a person can do with kubectl, each harmless when it is repeated.

They are those of `workflows/replace_etcd_replica.py` and its compensations, in the words of a shell. What they
find done they leave alone, and they decide by what stands there: member lists, flags, names (docs/contract.md).
"""

from replace_etcd.by_hand.names import as_printed, names, pods
from replace_etcd.by_hand.shell import Step, as_json, fed, quote, words_of
from replace_etcd.cluster import Object
from replace_etcd.models.plan import Pins
from replace_etcd.models.record import TAKEN_BY_HAND, Record
from replace_etcd.settings import Settings
from replace_etcd.utility_pod import CONTAINER, data_directory, name_of, utility_pod

CORDON = "replace-etcd/cordon."
EXCLUSIVE = "replace-etcd/exclusive"
TEMPORARY = "replace-etcd/temporary-budget-of"
# The guards are those of activities/data_directory.py: not through a link, not under a running etcd.
WIPE = (
    '[ ! -e "$1" ] && exit 0; cd "$1" && [ "$(pwd -P)" = "$1" ] || exit 1; '
    "if [ -f member/snap/db ] && command -v flock >/dev/null; then flock -n member/snap/db true || exit 1; fi; "
    "find . -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} + && "
    '[ -z "$(find . -mindepth 1 -maxdepth 1 ! -name lost+found)" ]'
)


def take_over(record: Record, namespace: str, settings: Settings) -> Step:
    """No worker acts any more, wherever it runs: the fence asks the record before each change."""
    patch = f"kubectl -n {quote(namespace)} patch configmap {quote(settings.record)} --type=merge"
    taken = f"""'{{"data":{{"{TAKEN_BY_HAND}":"'"${{USER:-somebody}}"'"}}}}'"""
    return Step(
        "Take the record over, so that no worker changes anything any more, and wait out the last attempt.",
        [
            f"{patch} -p {taken}",
            "wait_until nobody_acts",
            "words_are_current || stop 'the record has moved on: read these words again, and begin anew'",
        ],
        words=f"That takes half a minute at most (the last attempt may act until {record.until:%H:%M:%S} UTC). To"
        " give it back later, so that a new run goes on from where you stopped:",
        aside=f"{patch} -p {as_json({'data': {TAKEN_BY_HAND: None}})}",
    )


class Steps:
    """The steps for one replacement."""

    def __init__(self, record: Record, pins: Pins, settings: Settings) -> None:
        self._record = record
        self._pins = pins
        self._settings = settings
        self._kubectl = f"kubectl -n {quote(pins.user_cluster)}"
        self._survivor = quote(pins.survivors[0].pod)
        self._replica = quote(pins.replica)
        self._utility = quote(name_of(pins, settings))
        self._has_flag = pins.flag.original != pins.flag.existing

    def begin(self) -> list[Step]:
        """Names, the record, a look."""
        pins = self._pins
        look = Step(
            "Look at the members, as every survivor lists them.",
            ["members"],
            words=f"The old member is {pins.member_id} ({pins.member_name}). If a survivor does not answer, stop:"
            " then the quorum is at stake, and this is not the procedure.",
        )
        return [
            names(self._record, pins, self._settings),
            take_over(self._record, pins.user_cluster, self._settings),
            look,
        ]

    # Before the removal: the way back.

    def still_a_member(self) -> Step:
        """The way back exists only as long as nothing is removed."""
        gone = (
            f"{self._pins.member_id} is removed: there is no way back, go forward with the vendor's support"
        )
        return Step("Make sure that the member is not removed.", [f"! removed || stop {quote(gone)}"])

    def template_as_before(self) -> Step:
        """Flag and strategy in one patch."""
        flag, pins = self._pins.flag, self._pins
        survivors = words_of([survivor.pod for survivor in pins.survivors])
        why = "a survivor carries existing (its node was rebooted): a rollout would restart it; ask for help"
        guard = (
            f'for pod in {survivors}; do [ "$(flag_in "$pod")" != {as_printed(flag.existing)} ]'
            f" || stop {quote(why)}; done"
        )
        changes = [_put("/spec/updateStrategy", pins.update_strategy)]
        if self._has_flag:
            changes = [_test(flag.pointer, flag.existing), _put(flag.pointer, flag.original), *changes]
        patch = self._patch_template(changes)
        commands = [patch]
        if self._has_flag:
            commands = [guard, f'[ "$(flag)" = {as_printed(flag.original)} ] ||\n  {patch}']
        return Step(
            "Put flag and update strategy back, in one patch.",
            [*commands, "wait_until observed"],
            words=f"Afterwards the flag is {flag.original}, the strategy {pins.update_strategy}.",
        )

    def pod_with_old_flag(self) -> Step:
        """An empty directory that starts with `existing` while still a member rejoins with its votes forgotten."""
        existing = as_printed(self._pins.flag.existing)
        delete = f"{self._kubectl} delete pod {self._replica} --ignore-not-found --grace-period=3"
        return Step(
            f"Where {self._pins.replica} was re-created with existing, have it re-created as it was.",
            [
                f'[ "$(flag_in {self._replica})" != {existing} ] || {delete}',
                f"wait_until pod_as_before {self._replica}",
            ],
            words="It fails as it did before the replacement; what matters is its flag.",
        )

    # After the removal: the way forward.

    def edit_stands(self) -> Step:
        """`existing` and `OnDelete` are the safe resting state until the new member is a voter."""
        flag = self._pins.flag
        on_delete = [_put("/spec/updateStrategy", {"type": "OnDelete"})]
        commands = [self._patch_template(on_delete)]
        if self._has_flag:
            edit = self._patch_template(
                [_test(flag.pointer, flag.original), _put(flag.pointer, flag.existing)]
            )
            commands.append(f'[ "$(flag)" = {as_printed(flag.existing)} ] ||\n  {edit}')
        delete = f"{self._kubectl} delete pod {self._replica} --ignore-not-found --grace-period=3"
        commands.append("wait_until observed")
        commands.append(f'[ "$(flag_in {self._replica})" = {as_printed(flag.existing)} ] || {delete}')
        return Step(
            f"Make sure that updateStrategy is OnDelete, and the flag existing, also in {self._pins.replica}.",
            commands,
        )

    def remove(self) -> Step:
        """A literal id: a re-resolved one once removed the new member."""
        member = quote(self._pins.member_id)
        return Step(
            f"Remove the old member {self._pins.member_id}, by exactly this id.",
            [f"until removed; do etcdctl_in {self._survivor} member remove {member} || true; sleep 1; done"],
            words="If the list of step 3 shows the id, the removal was not sent, or is not applied yet: this sends"
            " it (again). If it does not, the removal has happened, and this does nothing. Either way there is"
            " no way back from here.",
        )

    def disarm(self) -> list[Step]:
        """What the removed member has raised keeps writes refused."""
        try:
            number = int(self._pins.member_id, 16)
        except ValueError:
            return []
        own = f"""alarms=$(etcdctl_in {self._survivor} alarm list) && [ -n "$alarms" ] &&"""
        other = f"""! printf '%s\\n' "$alarms" | grep -qv '^memberID:{number} '"""
        return [
            Step(
                "Disarm an alarm that the old member has left behind.",
                [f"if {own} {other}; then etcdctl_in {self._survivor} alarm disarm; fi"],
                words="Usually there is none.",
            )
        ]

    def patience(self) -> Step:
        """A learner that makes progress is never wiped."""
        return Step(
            "Give the new member ten minutes to start.",
            ["tries=0; until started || [ $tries -ge 600 ]; do tries=$((tries + 1)); sleep 1; done"],
            words=f"Normally it needs seconds. If the log of {self._pins.replica} shows that it still receives a"
            " snapshot, repeat this step instead of going on.",
        )

    def drop_unstarted(self) -> Step:
        """One member id for each life of a directory: what is about to be wiped is removed first."""
        return Step(
            "A new member that is listed and has not started is removed, to begin anew with an empty directory.",
            [f'etcdctl_in {self._survivor} member remove "$(new_id)"', "wait_until absent"],
            words="Does nothing where it has started, or where none is listed.",
            only_if="unstarted",
        )

    def empty_directory(self) -> list[Step]:
        """Cordon, utility Pod, wipe: each only while nobody lists the member under its name or address."""
        pins, again = self._pins, "Does nothing where the new member is listed already."
        node, holder = quote(pins.node), quote(f"{CORDON}{pins.user_cluster}=cordoned")
        manifest = utility_pod(pins, self._settings, self._record.first_run_id, self._record.generation)
        delete = f"{self._kubectl} delete pod --ignore-not-found"
        room = [
            f"kubectl cordon {node}",
            f"kubectl annotate node {node} {holder} --overwrite",
            f"{delete} {self._utility} --grace-period=1",
            fed(f"{self._kubectl} apply", manifest),
            f"{delete} {self._replica} --grace-period=3",
            f"{self._kubectl} wait --for=condition=Ready pod/{self._utility} --timeout=180s",
        ]
        path = data_directory(pins)
        free = f"""node=$(look pod {self._replica} '{{.spec.nodeName}}') && [ -z "$node" ]"""
        inside = words_of(["sh", "-c", WIPE, "sh", path])
        wipe = f"{free} &&\n  {self._kubectl} exec {self._utility} -c {CONTAINER} -- {inside} ||"
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

    def no_utility_pod(self) -> Step:
        """The member must not share its volume."""
        delete = f"{self._kubectl} delete pod {self._utility} --ignore-not-found --grace-period=1"
        return Step("Delete the utility Pod, and wait until it is gone.", [delete])

    def add(self) -> Step:
        """What the runbook forgets."""
        pins = self._pins
        kind = ["--learner"] if pins.join_as_learner else []
        words = words_of([pins.member_name, f"--peer-urls={','.join(pins.peer_urls)}", *kind])
        return Step(
            f"Add {pins.member_name} to the members again.",
            [f"until listed; do etcdctl_in {self._survivor} member add {words} || true; sleep 1; done"],
            words="For some seconds after the removal etcd answers `unhealthy cluster`; it is tried again.",
        )

    def free_node(self) -> Step:
        """Leave the holders of the cordon; the last one makes the node schedulable."""
        pins = self._pins
        node, ours = quote(pins.node), f"{CORDON}{pins.user_cluster}"
        held = f"look node {node} '{{.metadata.annotations}}' | grep -o '{CORDON}[^\":]*'"
        others = f"{held} | grep -qvxF {quote(ours)}"
        exclusive = f"""[ "$(look node {node} '{{.metadata.annotations.{EXCLUSIVE}}}')" !="""
        return Step(
            f"Uncordon {pins.node}, unless another replacement still holds it.",
            [
                f"if {held} | grep -qxF {quote(ours)}; then",
                f"  {others} || kubectl uncordon {node}",
                f"  kubectl annotate node {node} {quote(f'{ours}-')}",
                "fi",
                f"{exclusive} {quote(pins.user_cluster)} ] || kubectl annotate node {node} {EXCLUSIVE}-",
            ],
            words="A cordon that is not ours stays.",
        )

    def join(self) -> Step:
        """Started, in sync, a voter that answers by itself."""
        promote = f'etcdctl_in {self._survivor} member promote "$(new_id)" || true'
        wait = "wait_until voter"
        if self._pins.join_as_learner:
            wait = f"until voter; do {promote}; sleep 1; done"
        return Step(
            f"Wait until the new member is one of {self._pins.voters} started voters.",
            [wait],
            words="A learner is promoted as soon as it is in sync; until then etcd refuses, and it is tried again."
            " To watch it in another terminal:",
            aside=f"{self._kubectl} logs -f {self._replica}",
        )

    # From three started voters on: everything back.

    def flag_back(self) -> list[Step]:
        """The flag may go back now, and no pod moves: the strategy is still `OnDelete`."""
        flag = self._pins.flag
        if not self._has_flag:
            return []
        changes = [
            _test(flag.pointer, flag.existing),
            _put("/spec/updateStrategy", {"type": "OnDelete"}),
            _put(flag.pointer, flag.original),
        ]
        return [
            Step(
                f"Now that {self._pins.voters} voters are healthy: the flag back, with OnDelete still there.",
                [
                    "wait_until healthy",
                    f'[ "$(flag)" = {as_printed(flag.original)} ] ||\n  {self._patch_template(changes)}',
                    "wait_until observed",
                ],
            ),
            self._restarts(),
        ]

    def _restarts(self) -> Step:
        existing = as_printed(self._pins.flag.existing)
        restart = (
            f'restart() (\n[ "$(flag_in "$1")" = {existing} ] || exit 0\nwait_until healthy\n'
            f'etcdctl_in "$1" move-leader "$2" || true\n{self._kubectl} delete pod "$1"\n'
            'wait_until pod_as_before "$1"\nwait_until healthy\n)'
        )
        first, *others = self._pins.survivors
        heirs = {first.pod: others[0].member_id if others else first.member_id}
        calls = [words_of(["restart", pod, heirs.get(pod, first.member_id)]) for pod in pods(self._pins)]
        return Step(
            "Restart each pod that still carries existing, one at a time: normally only the replaced one.",
            [restart, *calls],
            words="Leadership is moved away first; `not the leader` is no error here.",
        )

    def strategy_back(self) -> Step:
        """Last of the StatefulSet: nothing is left to be rolled out."""
        why = "a pod differs from the template, and RollingUpdate would restart it: OnDelete stays; ask for help"
        strategy = self._patch_template([_put("/spec/updateStrategy", self._pins.update_strategy)])
        return Step(
            f"The update strategy back: {self._pins.update_strategy}.",
            ["wait_until observed", f"settled &&\n  {strategy} ||\n  stop {quote(why)}"],
        )

    # Both ways.

    def budget(self) -> list[Step]:
        """Always safe. `create` where it is gone, `replace` over the temporary one."""
        backup, name = self._record.backup, self._pins.pdb
        if backup is None:
            return []
        if backup.manifest is None:
            temporary = f"look pdb {quote(name)} '{{.metadata.annotations}}' | grep -q {TEMPORARY}"
            delete = f"if {temporary}; then {self._kubectl} delete pdb {quote(name)}; fi"
            return [Step("There was no PodDisruptionBudget: delete the temporary one.", [delete])]
        verb = f"verb=create; [ -z \"$(look pdb {quote(name)} '{{.metadata.name}}')\" ] || verb=replace"
        return [
            Step(
                f"PodDisruptionBudget {name} back, as it was backed up.",
                [verb, fed(f'{self._kubectl} "$verb"', backup.manifest)],
                words="Always safe. If somebody has changed it on purpose meanwhile, leave this step out.",
            )
        ]

    def end(self, *, replaced: bool) -> list[Step]:
        """Look once more, then give the lock away."""
        pins = self._pins
        looks = ["members", f"etcdctl_in {self._survivor} alarm list"]
        looks += [
            f"{self._kubectl} get pdb,statefulset,pods -o wide",
            f"kubectl get node {quote(pins.node)}",
        ]
        words = f"{pins.replica} still fails; everything else is as it was before."
        if replaced:
            answers = "endpoint status; etcdctl_in $pod endpoint hashkv"
            looks.append(f"for pod in {words_of(pods(pins))}; do etcdctl_in $pod {answers}; done")
            looks += ["wait_until healthy", "removed"]
            words = (
                f"There must be {pins.voters} started voters, none with the id {pins.member_id}, one leader, no alarm,"
                " and equal hashes where the revisions are equal."
            )
        delete = f"{self._kubectl} delete configmap {quote(self._settings.record)} --ignore-not-found"
        return [
            Step("Look once more.", looks, words=words),
            Step(
                "Delete the record. This ends the replacement; a new one may be started.",
                [delete],
            ),
        ]

    def _patch_template(self, operations: list[Object]) -> str:
        guarded = [_test("/metadata/uid", self._pins.stateful_set_uid), *operations]
        name = quote(self._settings.stateful_set)
        return f"{self._kubectl} patch statefulset {name} --type=json -p {as_json(guarded)}"


def _test(path: str, value: object) -> Object:
    return {"op": "test", "path": path, "value": value}


def _put(path: str, value: object) -> Object:
    return {"op": "replace", "path": path, "value": value}
