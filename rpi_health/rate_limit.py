"""Keeps a flood of equal events from flooding the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


class RateLimiter:
    """Keeps a flood of equal events from flooding the log: the first few of a kind, then one an interval.

        suppressed = limiter.allow(reason)
        if suppressed is not None:
            logger.warning("dead-lettered message", extra={"reason": reason, "suppressed": suppressed})

    Safe to share between threads.

    Args:
        clock: seconds that only increase.
        burst: how many lines of one kind are written at once.
        interval_s: seconds between two lines of one kind after that.
    """

    #: Kinds remembered; beyond that the oldest is forgotten, so that a key that varies does not fill the memory.
    MOST_KEYS = 1000

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, burst: int = 5, interval_s: float = 60.0
    ) -> None:
        self._clock = clock
        self._burst = burst
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    def allow(self, key: str) -> int | None:
        """Whether a line of this kind may be written now.

        Returns:
            None if not; else how many of this kind were suppressed since the last line.
        """
        with self._lock:
            kind = self._kinds.get(key) or self._new(key)
            now = self._clock()
            if kind.written >= self._burst and now - kind.last_at < self._interval_s:
                kind.suppressed += 1
                return None
            suppressed, kind.suppressed = kind.suppressed, 0
            kind.written += 1
            kind.last_at = now
            return suppressed

    def _new(self, key: str) -> _Kind:
        if len(self._kinds) >= self.MOST_KEYS:
            del self._kinds[next(iter(self._kinds))]
        return self._kinds.setdefault(key, _Kind())


@dataclass
class _Kind:
    written: int = 0
    suppressed: int = 0
    last_at: float = 0.0
