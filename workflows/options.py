"""Time limits and retries of every activity, in one table.

`attempt` bounds one attempt, `total` all of them together; an attempt that stops heartbeating for
`HEARTBEAT` is given up earlier. Forward steps before the removal give up on errors that no retry can mend;
compensations, and every step after the removal, never do (docs/contract.md, Rules of the saga, 6).
"""

from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy

from replace_etcd.errors import FINAL
from replace_etcd.models.request import Limits

HEARTBEAT = timedelta(seconds=10)
FIRST_PAUSE = timedelta(milliseconds=500)
LONGEST_PAUSE = timedelta(seconds=15)
# Another order has the record: nothing that this run could do would be right. Without progress, people decide.
# Without the utility Pod, or with another pod on the volume, room has to be made once more. What an earlier run has
# begun is found out before anything goes back.
LATE = ["LockLost", "RemovalForgotten", "NoProgress", "UtilityPodGone", "VolumeTaken", "MoreToPutBack"]
WHILE_IT_GOES_ON = timedelta(days=30)  # the activity itself gives up when there is no progress


def seconds(number: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=number)


@dataclass(frozen=True)
class Patience:
    """How long one attempt, and all attempts of a step, may take; None: without limit."""

    attempt: timedelta
    total: timedelta | None = None


FORWARD = {
    "preflight": Patience(seconds(90), seconds(180)),
    "claim_replacement_record": Patience(seconds(60), seconds(180)),
    "note_hold": Patience(seconds(90), seconds(400)),
    "delete_pod_of_dead_node": Patience(seconds(240), seconds(600)),
    "back_up_pod_disruption_budget": Patience(seconds(30), seconds(120)),
    "delete_pod_disruption_budget": Patience(seconds(60), seconds(180)),
    "join_existing_on_delete": Patience(seconds(90), seconds(240)),
    "cordon_node": Patience(seconds(60), seconds(180)),
    "create_utility_pod": Patience(seconds(150), seconds(400)),
    "watch_failed_member": Patience(seconds(120), seconds(400)),
    "evict_failed_pod": Patience(seconds(120), seconds(400)),
    "protect_survivors": Patience(seconds(60), seconds(180)),
    "wait_until_failed_pod_is_gone": Patience(seconds(90), seconds(400)),
    "take_snapshot": Patience(seconds(1800), seconds(3600)),
    "remove_member": Patience(seconds(120), seconds(400)),
}

PAST_THE_POINT_OF_NO_RETURN = {
    "disarm_alarm_of_removed_member": Patience(seconds(90), seconds(900)),
    "clean_data_directory": Patience(seconds(400), seconds(1800)),
    "delete_utility_pod": Patience(seconds(120), seconds(900)),
    "add_member": Patience(seconds(120), seconds(900)),
    "uncordon_node": Patience(seconds(60), seconds(900)),
    "restore_initial_cluster_state": Patience(seconds(90), seconds(900)),
    "restart_replaced_pod": Patience(seconds(300), seconds(1800)),
    "restore_update_strategy": Patience(seconds(90), seconds(900)),
    "restore_pod_disruption_budget": Patience(seconds(60), seconds(900)),
    "verify_replacement": Patience(seconds(90), seconds(900)),
    "delete_replacement_record": Patience(seconds(90), seconds(900)),
}

COMPENSATIONS = {
    "settle_removal": Patience(seconds(120)),
    "recall_what_was_begun": Patience(seconds(120)),
    "restore_pod_disruption_budget": Patience(seconds(90)),
    "restore_flag_and_strategy": Patience(seconds(120)),
    "replace_pod_with_wrong_flag": Patience(seconds(180)),
    "delete_utility_pod": Patience(seconds(120)),
    "uncordon_node": Patience(seconds(90)),
    "close_replacement_record": Patience(seconds(90)),
    "note_hold": Patience(seconds(90)),
    "request_cancellation": Patience(seconds(30)),
    "delete_replacement_record": Patience(seconds(90)),
}

# A hold lasts as long as people take: what keeps it from asking them is not waited for without end.
BEFORE_ANYBODY_IS_ASKED = seconds(300)

JANITOR = {
    "find_interrupted_replacements": Patience(seconds(60), seconds(180)),
    "take_over_record": Patience(seconds(150), seconds(900)),
    "protect_stuck_replacement": Patience(seconds(30), seconds(60)),
}

LOOKING = {"diagnose": Patience(seconds(30), seconds(60))}
# Neither the audit nor a notice is ever in the way: they are tried beside the steps, and only briefly at the end.
TELLING = {
    "append_audit_events": Patience(seconds(10), seconds(20)),
    "send_notification": Patience(seconds(30), seconds(3600)),
}
AT_THE_END = Patience(seconds(5), seconds(8))
BY_A_RUN_OF_ITS_OWN = Patience(seconds(30), WHILE_IT_GOES_ON)


def patience_of(name: str, limits: Limits, *, removed: bool) -> Patience:
    """The limits of a step; those of steps that wait for what nobody controls come from the input."""
    waiting = {
        "take_node": Patience(limits.hold, limits.hold),
        "drain_node": Patience(limits.drain, limits.drain),
        "promote_member": Patience(WHILE_IT_GOES_ON, WHILE_IT_GOES_ON),
        "wait_for_voter": Patience(WHILE_IT_GOES_ON, WHILE_IT_GOES_ON),
        "stand_guard": Patience(limits.hold + seconds(600)),
    }
    table = PAST_THE_POINT_OF_NO_RETURN if removed else FORWARD
    return waiting.get(name) or table.get(name) or FORWARD[name]


def _policy(final: list[str]) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=FIRST_PAUSE, maximum_interval=LONGEST_PAUSE, non_retryable_error_types=final
    )


UNTIL_FINAL = _policy(FINAL)
UNTIL_LATE = _policy(LATE)
