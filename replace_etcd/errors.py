"""Errors that carry two decisions: can a retry help, and is the outcome known.

Temporal retries an activity unless its error's type stands in the policy's `non_retryable_error_types`, and
the type of an ordinary exception is its class name. So the classes below *are* the retry decision:
`FINAL` lists those that no retry can mend, for forward steps before the point of no return
(docs/contract.md, Rules of the saga, 6).
"""


class ReplacementError(Exception):
    """Base of every error that this product raises itself."""


class ClusterError(ReplacementError):
    """The API server answered with a Status that is not success; a retry may help (5xx, 429, 409)."""

    def __init__(
        self, status: int, reason: str, message: str, causes: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes or []


class Conflict(ClusterError):
    """409: the object is not the one, or not in the version, that the order named."""


class Forbidden(ClusterError):
    """403: the identity of the worker lacks a right."""


class Unauthenticated(ClusterError):
    """401: the API server does not know the worker, or not any more; a renewed identity mends it, so it is retried."""


class Invalid(ClusterError):
    """400 or 422, or a request that no server version accepts: a defect or a refused value."""


class Unreachable(ReplacementError):
    """No answer came: for a change, the outcome is unknown until somebody looks."""


class OutcomeUnknown(ReplacementError):
    """A command was started and its end was not seen; it may still be running."""


class CutOff(OutcomeUnknown):
    """The connection to a command ended before it had told how it ends: one that only reads may be run again."""


class NotStarted(ReplacementError):
    """A command definitely never started (refused at the handshake)."""


class CommandFailed(ReplacementError):
    """A command in a container ended with an exit code other than 0."""

    def __init__(self, command: str, exit_code: int, output: str) -> None:
        super().__init__(f"{command} ended with exit code {exit_code}: {output.strip()[-500:]}")
        self.exit_code = exit_code
        self.output = output


class NotYet(ReplacementError):
    """What is waited for has not happened yet; nothing is wrong."""


class Moved(ReplacementError):
    """The world is not as it was pinned; going on could harm."""


class RecordGone(Moved):
    """Somebody deleted the record: past the removal the next attempt writes it again, before it this rolls back."""


class Recovered(Moved):
    """The failed member answers again: there is nothing to replace."""


class LockLost(ReplacementError):
    """Another order has the record: this attempt is late and must change nothing."""


class NoProgress(ReplacementError):
    """What is waited for has not come any closer for longer than the limit: people decide."""


class RemovalForgotten(LockLost):
    """A run that was reset to before the removal does not know of it: it has to look again."""


class MoreToPutBack(ReplacementError):
    """A run that was reset may have forgotten what it has begun: the record is asked before anything goes back."""


class UtilityPodGone(ReplacementError):
    """Somebody deleted the utility Pod, through which the volume is emptied: another one has to be made."""


class VolumeTaken(ReplacementError):
    """A pod came to the volume that is to be emptied, and will not go by itself: room has to be made once more."""


class DrainBlocked(ReplacementError):
    """The drain met pods that it may not evict."""


class SnapshotDamaged(ReplacementError):
    """A snapshot was cut short or fails its check; another one, of another survivor, may be good."""


class SnapshotRefused(ReplacementError):
    """No snapshot can be taken and kept; nothing was removed."""


class RemovalDidNotStart(ReplacementError):
    """The member was not removed, and no command that could remove it has been started."""


FINAL = [
    error.__name__
    for error in (
        *(Forbidden, Invalid, Moved, RecordGone, Recovered, LockLost, RemovalForgotten),
        *(DrainBlocked, SnapshotRefused, RemovalDidNotStart),
    )
]
