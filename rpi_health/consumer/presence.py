"""The word that goes to the database every few seconds: that this consumer runs, and how it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Protocol

from rpi_health import errors, events
from rpi_health.consumer.pulse import Pulse
from rpi_health.consumer.tally import Tally
from rpi_health.presence import BEAT_S, Beat

_LOOK_S = 0.5


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
        self._log = events.Log(__name__)

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
            self._tally.last_commit_at,
        )

    def _do(self, step: Callable[[], None]) -> None:
        try:
            step()
        except errors.DatabaseError as error:
            if str(error) != self._trouble:
                self._log.say(events.PRESENCE_FAILED, error=error)
            self._trouble = str(error)
        else:
            self._trouble = ""
