"""A rate limit: a token bucket, as client-go has one (https://pkg.go.dev/k8s.io/client-go/util/flowcontrol).

The worker has one toward the API server: when it replaces members of many user clusters at once it must not crowd out
everybody else who talks to it. The HTTP API has one for each of its callers.
"""

import asyncio
import time
from collections.abc import Callable


class TokenBucket:
    """So many requests a second, and so many at once after a pause; turns are given in the order of asking."""

    def __init__(self, qps: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a limit where `qps` is 0."""
        self._qps, self._burst, self._clock = qps, burst, clock
        self._tokens = float(burst)
        self._counted = clock()

    async def take(self, within: float) -> float | None:
        """Wait for a turn, and return for how long; None, at once, where it would come later than `within`.

        A turn that comes too late is not taken: a change must not be sent after the time that its attempt has.
        """
        wait = self.reserve(within)
        if wait:
            await asyncio.sleep(wait)
        return wait

    def reserve(self, within: float) -> float | None:
        """Take a turn: how long to wait for it; None where that is too long."""
        wait = self.wait()
        if wait > within:
            return None
        self._tokens -= 1
        return wait

    def wait(self) -> float:
        """How long the next turn would have to be waited for."""
        if not self._qps:
            return 0.0
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self._qps)
        self._counted = now
        return max(0.0, 1 - self._tokens) / self._qps
