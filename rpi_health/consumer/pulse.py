"""How well the queue is heard. Owned by the I/O thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from rpi_health.presence import BEAT_S, GONE_AFTER_S


class Counted(Protocol):
    """What is looked at of a session."""

    @property
    def waiting(self) -> int: ...

    @property
    def delivered(self) -> int: ...

    def ask_ready(self, answer: Callable[[int], None]) -> None: ...


class _Look(NamedTuple):
    """What was last found: by the monotonic clock, when; whether the backlog is taken; how many messages wait."""

    at: float
    is_current: bool
    backlog: int


class Pulse:
    """Looks at the queue's length while a session consumes. For the I/O thread; any thread may take what it found."""

    def __init__(self) -> None:
        self._session: Counted | None = None
        self._taken = 0
        self._ask_at = math.inf
        self._last: _Look | None = None

    def opened(self, session: Counted) -> None:
        """Note that a session consumes."""
        self._session, self._taken = session, 0
        self._note(session.waiting, is_current=session.waiting == 0)

    def lost(self) -> None:
        """Note that no session does."""
        self._session, self._last = None, None

    def look(self) -> None:
        """Ask how many messages wait, if it is time to. The answer is not waited for: a frozen broker has none."""
        session = self._session
        if session is not None and time.monotonic() >= self._ask_at:
            self._ask_at = math.inf
            session.ask_ready(lambda ready: self._answered(session, ready))

    def _answered(self, session: Counted, ready: int) -> None:
        if session is not self._session or self._last is None:
            return
        taken, self._taken = session.delivered - self._taken, session.delivered
        # A queue that turned over since the look before holds nothing older than that.
        self._note(ready, is_current=ready == 0 or taken >= self._last.backlog)

    def _note(self, ready: int, *, is_current: bool) -> None:
        now = time.monotonic()
        self._last, self._ask_at = _Look(now, is_current, ready), now + BEAT_S

    @property
    def is_connected(self) -> bool:
        """Whether a session consumes."""
        return self._last is not None

    @property
    def is_listening(self) -> bool:
        """Whether what is received now was sent a moment ago: no backlog is being drained, and the broker answers."""
        last = self._last
        return last is not None and last.is_current and time.monotonic() - last.at < BEAT_S + GONE_AFTER_S

    @property
    def backlog(self) -> int | None:
        """How many messages waited when that was last asked."""
        last = self._last
        return None if last is None else last.backlog
