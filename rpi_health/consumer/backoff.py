"""How long to wait before the next try."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double up to a limit, with full jitter, so that many consumers do not come back all at once.

    Args:
        first_s: the longest that the first delay may be, in seconds.
        limit_s: the longest that any delay may be, in seconds.
    """

    def __init__(self, first_s: float, limit_s: float) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._ceiling_s = min(first_s, limit_s)

    def next_s(self) -> float:
        """The next delay, in seconds: between a tenth of the current ceiling and all of it."""
        delay_s = random.uniform(self._ceiling_s / 10, self._ceiling_s)  # noqa: S311
        self._ceiling_s = min(self._ceiling_s * 2, self._limit_s)
        return delay_s

    def reset(self) -> None:
        """Begin again. To be called after progress, not after a mere connection."""
        self._ceiling_s = min(self._first_s, self._limit_s)
