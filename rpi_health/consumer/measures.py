"""How values are spread, and how long something lasted. Written by one thread; any thread may read them."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts values by size.

    Args:
        bounds: the upper bounds of the classes, ascending; a value on a bound counts below it. One class more takes
            what exceeds the last.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Stopwatch:
    """For how long something has been so, all times together. It may start and stop again and again."""

    def __init__(self) -> None:
        # One value, so that who reads it never sees a stretch twice.
        self._state: tuple[float, float | None] = (0.0, None)

    def start(self) -> None:
        """It is so from now on, if it was not already."""
        total_s, since = self._state
        if since is None:
            self._state = (total_s, time.monotonic())

    def stop(self) -> None:
        """It is not so from now on."""
        self._state = (self.total_s, None)

    @property
    def is_running(self) -> bool:
        """Whether it is so now."""
        return self._state[1] is not None

    @property
    def total_s(self) -> float:
        """Seconds, those that are running included."""
        total_s, since = self._state
        return total_s if since is None else total_s + time.monotonic() - since
