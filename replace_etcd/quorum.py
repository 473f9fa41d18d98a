"""The arithmetic of quorum, on the target membership and worst case first; pure, so that it can be proved.

A quorum of n voters is floor(n/2)+1 (https://etcd.io/docs/v3.5/faq/#what-is-failure-tolerance). A new voter
counts as not started, whatever it is about to do (as cluster-api's `targetEtcdClusterHealthy` does).
"""


def quorum(voters: int) -> int:
    """How many voters must answer for a write to be accepted."""
    return voters // 2 + 1


def tolerance(voters: int, healthy: int) -> int:
    """How many more of the healthy voters may fail; negative once the quorum is lost."""
    return healthy - quorum(voters)


def tolerance_while_replacing(voters: int, healthy: int, *, learner: bool) -> int:
    """The lowest tolerance on the way: after the removal, and after the add with the new member not started.

    `voters` counts the failed one, `healthy` does not. A learner is no voter: it does not raise the quorum.
    """
    removed = tolerance(voters - 1, healthy)
    added = tolerance(voters - 1 if learner else voters, healthy)
    return min(removed, added)
