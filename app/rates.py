"""How often one may ask: a bucket of tokens that refills by the minute, for each name, in this process."""

import time
from collections.abc import Callable

MOST_NAMES = 10_000  # addresses are the callers' to choose: their buckets must not fill the memory


class Rate:
    """per_minute: the mean allowed; as many may come at once after a quiet minute. clock: seconds, never going back."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # name -> tokens left, then

    def take(self, name: str) -> float:
        """0 where it is allowed; else the seconds until it is."""
        now = self._clock()
        left, then = self._buckets.get(name, (self._most, now))
        left = self._refilled(left, then, now)
        allowed = left >= 1
        self._buckets[name] = (left - 1 if allowed else left, now)
        if len(self._buckets) > MOST_NAMES:
            self._forget_full(now)
        return 0.0 if allowed else (1 - left) * 60 / self._most

    def _refilled(self, left: float, then: float, now: float) -> float:
        return min(self._most, left + (now - then) * self._most / 60)

    def _forget_full(self, now: float) -> None:
        # A bucket that has filled up again says nothing; of the others the longest unused go.
        full = [
            name for name, (left, then) in self._buckets.items() if left + (now - then) * self._most / 60 >= self._most
        ]
        oldest = sorted(self._buckets, key=lambda name: self._buckets[name][1])
        for name in full or oldest[: MOST_NAMES // 2]:
            del self._buckets[name]
