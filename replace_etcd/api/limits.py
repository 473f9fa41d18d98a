"""How often somebody may ask: a bucket of requests for each, refilled steadily, in this process's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_KEYS = 10_000


class Rate:
    """A limit for each of many; those that were quiet the longest are forgotten when there are too many."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = max(1.0, per_minute / 4)
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> int:
        """One request of theirs: 0 where it may pass, else after how many seconds to come again."""
        now = self._clock()
        level, since = self._levels.pop(who, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._per_second)
        passes = level >= 1
        self._levels[who] = (level - 1 if passes else level, now)
        if len(self._levels) > MOST_KEYS:
            self._levels.popitem(last=False)
        return 0 if passes else max(1, math.ceil((1 - level) / self._per_second))
