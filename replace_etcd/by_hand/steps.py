"""The steps that a person can do with kubectl, each harmless when it is repeated: those of both ways.

They are those of `workflows/replace_etcd_replica.py` and its compensations, in the words of a shell. What they
find done they leave alone, and they decide by what stands there: member lists, flags, names (docs/contract.md).
"""

from replace_etcd.by_hand.names import names, pods
from replace_etcd.by_hand.shell import Step, as_json, fed, quote, words_of
from replace_etcd.cluster import Object
from replace_etcd.models.plan import Pins
from replace_etcd.models.record import TAKEN_BY_HAND, Record
from replace_etcd.settings import Settings
from replace_etcd.utility_pod import name_of

CORDON = "replace-etcd/cordon."
EXCLUSIVE = "replace-etcd/exclusive"
TEMPORARY = "replace-etcd/temporary-budget-of"


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
    """The steps for one replacement, whichever way it goes."""

    def __init__(self, record: Record, pins: Pins, settings: Settings) -> None:
        self.record = record
        self.pins = pins
        self.settings = settings
        self.kubectl = f"kubectl -n {quote(pins.user_cluster)}"
        self.survivor = quote(pins.survivors[0].pod)
        self.replica = quote(pins.replica)
        self.utility = quote(name_of(pins, settings))
        self.has_flag = pins.flag.original != pins.flag.existing

    def begin(self) -> list[Step]:
        """Names, the record, a look."""
        pins = self.pins
        look = Step(
            "Look at the members, as every survivor lists them.",
            ["members"],
            words=f"The old member is {pins.member_id} ({pins.member_name}). If a survivor does not answer, stop:"
            " then the quorum is at stake, and this is not the procedure.",
        )
        return [
            names(self.record, pins, self.settings),
            take_over(self.record, pins.user_cluster, self.settings),
            look,
        ]

    def no_utility_pod(self) -> Step:
        """The member must not share its volume."""
        delete = f"{self.kubectl} delete pod {self.utility} --ignore-not-found --grace-period=1"
        return Step("Delete the utility Pod, and wait until it is gone.", [delete])

    def free_node(self) -> Step:
        """Leave the holders of the cordon; the last one makes the node schedulable."""
        pins = self.pins
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

    def budget(self) -> list[Step]:
        """Always safe. `create` where it is gone, `replace` over the temporary one."""
        backup, name = self.record.backup, self.pins.pdb
        if backup is None:
            return []
        if backup.manifest is None:
            temporary = f"look pdb {quote(name)} '{{.metadata.annotations}}' | grep -q {TEMPORARY}"
            delete = f"if {temporary}; then {self.kubectl} delete pdb {quote(name)}; fi"
            return [Step("There was no PodDisruptionBudget: delete the temporary one.", [delete])]
        verb = f"verb=create; [ -z \"$(look pdb {quote(name)} '{{.metadata.name}}')\" ] || verb=replace"
        return [
            Step(
                f"PodDisruptionBudget {name} back, as it was backed up.",
                [verb, fed(f'{self.kubectl} "$verb"', backup.manifest)],
                words="Always safe. If somebody has changed it on purpose meanwhile, leave this step out.",
            )
        ]

    def end(self, *, replaced: bool) -> list[Step]:
        """Look once more, then give the lock away."""
        pins = self.pins
        looks = ["members", f"etcdctl_in {self.survivor} alarm list"]
        looks += [
            f"{self.kubectl} get pdb,statefulset,pods -o wide",
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
        delete = f"{self.kubectl} delete configmap {quote(self.settings.record)} --ignore-not-found"
        return [
            Step("Look once more.", looks, words=words),
            Step(
                "Delete the record. This ends the replacement; a new one may be started.",
                [delete],
            ),
        ]

    def patch_template(self, operations: list[Object]) -> str:
        """A patch of the one StatefulSet that the plan names."""
        guarded = [must_be("/metadata/uid", self.pins.stateful_set_uid), *operations]
        name = quote(self.settings.stateful_set)
        return f"{self.kubectl} patch statefulset {name} --type=json -p {as_json(guarded)}"


def must_be(path: str, value: object) -> Object:
    """An operation that fails where something else stands."""
    return {"op": "test", "path": path, "value": value}


def put(path: str, value: object) -> Object:
    """An operation that writes."""
    return {"op": "replace", "path": path, "value": value}
