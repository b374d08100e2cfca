"""How well the queue is heard, and the word of it that goes to the database every few seconds."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import NamedTuple, Protocol

from rpi_health import errors
from rpi_health.consumer.tally import Tally
from rpi_health.presence import BEAT_S, GONE_AFTER_S, Beat

log = logging.getLogger(__name__)

_LOOK_S = 0.5


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


class Seen(Protocol):
    """Where others see this consumer. See `rpi_health.store.Store`."""

    def beat(self, beat: Beat) -> None: ...

    def leave(self) -> None: ...


class Presence:
    """Keeps this consumer to be seen. For the writer thread, which has the database.

    It never stands in the way of messages: what fails is said once, and tried again with the next beat.
    """

    def __init__(self, seen: Seen, pulse: Pulse, tally: Tally) -> None:
        self._seen = seen
        self._pulse = pulse
        self._tally = tally
        self._due_at = 0.0
        self._last_at = time.monotonic()
        self._stored = 0
        self._was_listening = False
        self._trouble = ""
        #: When something was last committed.
        self.last_commit_at: datetime | None = None

    def wait_s(self) -> float:
        """How long until it is time to `renew`; while the fleet is not heard yet, that may be any moment."""
        wait_s = max(0.0, self._due_at - time.monotonic())
        return wait_s if self._was_listening else min(wait_s, _LOOK_S)

    def renew(self) -> None:
        """Say how this consumer is, if that is due or has changed."""
        now, is_listening = time.monotonic(), self._pulse.is_listening
        if now < self._due_at and is_listening == self._was_listening:
            return
        self._was_listening = is_listening
        self._due_at = now + BEAT_S
        self._do(lambda: self._seen.beat(self._beat(now)))

    def leave(self) -> None:
        """Say that it stops."""
        self._due_at = 0.0
        self.renew()
        if not self._trouble:
            self._do(self._seen.leave)

    def _beat(self, now: float) -> Beat:
        stored, span_s = self._tally.stored - self._stored, now - self._last_at
        self._stored, self._last_at = self._tally.stored, now
        return Beat(
            datetime.now(timezone.utc),
            self._pulse.is_connected,
            self._pulse.is_listening,
            self._pulse.backlog,
            stored / span_s if span_s > 0 else 0.0,
            self.last_commit_at,
        )

    def _do(self, step: Callable[[], None]) -> None:
        try:
            step()
        except errors.DatabaseError as error:
            if str(error) != self._trouble:
                log.warning("Cannot say that this consumer runs: %s", error, extra={"event": "presence_failed"})
            self._trouble = str(error)
        else:
            self._trouble = ""
