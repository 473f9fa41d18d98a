"""What to do with kubectl when Temporal is gone: the words of the record, for the phase that it is in.

Pure: from the record and the names of the settings to a text that a person can follow to the letter, and that
a shell can run (`replace_etcd.by_hand.shell`). It begins with the state that things are in, and what must not be
done; then come the steps that are left, each harmless when it is repeated.
"""

from replace_etcd.by_hand.names import basics
from replace_etcd.by_hand.shell import Step, numbered, quote, remark
from replace_etcd.by_hand.steps import take_over
from replace_etcd.by_hand.way_back import WayBack
from replace_etcd.by_hand.way_forward import WayForward
from replace_etcd.models.phase import PAST_THE_REMOVAL, REJOINED, Phase, further
from replace_etcd.models.record import BY_HAND, Record
from replace_etcd.settings import Settings

NEVER = (
    "NEVER, before all voters have started: set the flag back to new, change updateStrategy from OnDelete, restart or"
    " drain a survivor, or wipe anything that a survivor's member list names. One more failure costs the quorum."
)
STATES = {
    Phase.REMOVING: "The removal of {id} may or may not have been applied. There is no way back; the way is forward.",
    Phase.CLEANING: "Member {id} is removed; the data directory of {replica} is about to be emptied.",
    Phase.ADDING: "Member {id} is removed, its data directory is empty; the new member is about to be added.",
    Phase.REJOINING: "The new member of {replica} is added, and is about to start and to catch up.",
    Phase.RESTORING: "The new member of {replica} is a voter; flag, strategy and budget are about to come back.",
    Phase.VERIFYING: "The new member of {replica} is a voter, and everything is back; it was about to be verified.",
}
BEFORE = (
    "Nothing is removed: {id} of {replica} is still a member, and everything can be put back. Do not delete or restart"
    " a survivor, and do not remove the member by hand now."
)
RESTING = (
    "It has stopped here: the budget stands. Unless the last sentence says otherwise, no utility Pod is left,"
)
RESTING_REMOVED = (
    "{node} is schedulable, and {replica} restarts again and again with existing, which is harmless."
)
RESTING_UNKNOWN = (
    "and {node} stays cordoned until the member is found to be removed: {replica} must not start before that."
)


def instructions(record: Record, settings: Settings) -> str:
    """The words for this phase."""
    return "\n\n".join([_opening(record, settings), _state(record), numbered(_steps(record, settings))])


def _opening(record: Record, settings: Settings) -> str:
    namespace = _namespace(record)
    template = f'{{{{index .data "{BY_HAND}"}}}}'
    read = f"kubectl -n {quote(namespace)} get configmap {quote(settings.record)} -o go-template={quote(template)}"
    return "\n".join(
        [
            remark(
                f"{record.replica} of {namespace}, on {record.node}, is being replaced: {record.phase.value}."
            ),
            remark(
                "If Temporal or its workers are gone, go on by hand, with kubectl in a terminal. Lines that begin"
                " with # are for you, all others are commands. Paste one step at a time, and go on only when it has"
                " come to its end without STOP or an error; or read these words into a file and run sh -e FILE:"
            ),
            f"#   {read} > FILE",
            remark("Every step is harmless when it is repeated. Where workers live, leave it to them."),
        ]
    )


def _state(record: Record) -> str:
    """What stands, and what must not be done now."""
    furthest = _furthest(record)
    sentences = [STATES.get(furthest, BEFORE)]
    if furthest in STATES and _rests(record):
        sentences += [RESTING, RESTING_UNKNOWN if furthest is Phase.REMOVING else RESTING_REMOVED]
    if furthest in STATES and furthest not in REJOINED:
        sentences.append(NEVER)
    facts = {"id": record.member_id, "replica": record.replica, "node": record.node}
    words = [sentence.format(**facts) for sentence in sentences]
    return remark(" ".join([*words, f"Why it stopped: {record.reason}" if record.reason else ""]))


def _steps(record: Record, settings: Settings) -> list[Step]:
    pins = record.pins
    if pins is None or not pins.survivors:
        return _without_pins(record, settings)
    furthest = _furthest(record)
    if furthest not in PAST_THE_REMOVAL:
        return _back(WayBack(record, pins, settings))
    steps = WayForward(record, pins, settings)
    if furthest in REJOINED:
        return [*steps.begin(), steps.free_node(), *_restore(steps)]
    return [
        *steps.begin(),
        steps.edit_stands(),
        *_forward(steps, furthest, rests=_rests(record)),
        steps.join(),
        *_restore(steps),
    ]


def _back(steps: WayBack) -> list[Step]:
    """The order of the compensations (docs/contract.md, Rules of the saga, 2)."""
    return [
        *steps.begin(),
        steps.still_a_member(),
        *steps.budget(),
        steps.template_as_before(),
        steps.pod_with_old_flag(),
        steps.no_utility_pod(),
        steps.free_node(),
        *steps.end(replaced=False),
    ]


def _forward(steps: WayForward, furthest: Phase, *, rests: bool) -> list[Step]:
    """From the removal to the start of the new member; what is certainly done is left out.

    A replacement that rests has uncordoned the node, so that the pod may have started on the directory: it is
    emptied once more.
    """
    found: list[Step] = []
    if furthest is Phase.REMOVING:
        found.append(steps.remove())
    if furthest in (Phase.REMOVING, Phase.CLEANING):
        found += steps.disarm()
    if furthest is Phase.REJOINING and not rests:
        found += [steps.free_node(), steps.patience()]
    if furthest is Phase.REJOINING or (furthest is Phase.ADDING and rests):
        found.append(steps.drop_unstarted())
    if furthest is not Phase.ADDING or rests:
        found += steps.empty_directory()
    return [*found, steps.add(), steps.free_node()]


def _restore(steps: WayForward) -> list[Step]:
    return [*steps.flag_back(), *steps.budget(), steps.strategy_back(), *steps.end(replaced=True)]


def _without_pins(record: Record, settings: Settings) -> list[Step]:
    """A record of an earlier release does not say what stood where: take it over, look, and ask."""
    namespace = _namespace(record)
    kubectl = f"kubectl -n {quote(namespace)}"
    names = Step("Short names for what follows. They change nothing.", basics(record, namespace, settings))
    look = Step(
        "This record does not hold what is needed to go on by hand. Look, and ask the vendor's support.",
        [f"{kubectl} get pdb,statefulset,pods -o wide", f"kubectl get node {quote(record.node)}"],
        words="A new run of replace-etcd goes on from the state that it finds, once the record is given back.",
    )
    return [names, take_over(record, namespace, settings), look]


def _namespace(record: Record) -> str:
    """The user cluster; where the pins do not tell, it is what follows the prefix of the workflow's id."""
    return record.pins.user_cluster if record.pins else record.workflow_id.partition(".")[2]


def _furthest(record: Record) -> Phase:
    return further(record.furthest, record.phase)


def _rests(record: Record) -> bool:
    return record.phase is Phase.HELD or record.outcome is not None
