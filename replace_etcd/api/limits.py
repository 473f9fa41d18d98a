"""How often somebody may ask: a bucket of requests for each, refilled steadily, in this process's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from replace_etcd.token_bucket import TokenBucket

MOST_KEYS = 10_000


class Rate:
    """A limit for each of many; those that were quiet the longest are forgotten when there are too many."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, who: str) -> int:
        """One request of theirs: 0 where it may pass, else after how many seconds to come again."""
        bucket = self._buckets.pop(who, None) or self._full()
        self._buckets[who] = bucket
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        return 0 if bucket.reserve(within=0) is not None else max(1, math.ceil(bucket.wait()))

    def _full(self) -> TokenBucket:
        return TokenBucket(self._per_minute / 60, max(1.0, self._per_minute / 4), self._clock)
