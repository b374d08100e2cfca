"""The line of the log that says once a minute what was done."""

from __future__ import annotations

import time

from rpi_health import events
from rpi_health.consumer.pulse import Pulse
from rpi_health.consumer.tally import Tally

_EVERY_S = 60.0
_COUNTED = ("deliveries", "redelivered", "stored", "stale", "dead_lettered", "batches")


class Summary:
    """Says what was done since it last did, while there is something to say. For the I/O thread."""

    def __init__(self, tally: Tally, pulse: Pulse, log: events.Log) -> None:
        self._tally = tally
        self._pulse = pulse
        self._log = log
        self._last_at = time.monotonic()
        self._before = self._look()

    def say_if_due(self) -> None:
        """Say it, if a minute is over in which messages came or were held."""
        span_s = time.monotonic() - self._last_at
        if span_s < _EVERY_S:
            return
        now = self._look()
        changes = {name: value - self._before.get(name, 0) for name, value in now.items()}
        self._last_at, self._before = time.monotonic(), now
        if any(changes.values()):
            rate = {"per_second": round(changes["stored"] / span_s, 1), "backlog": self._pulse.backlog}
            whole = {name: round(value) for name, value in changes.items()}
            self._log.say(events.SUMMARY, seconds=round(span_s), **whole, **rate)

    def _look(self) -> dict[str, float]:
        counts = self._tally.counts()
        held = {"held_s": self._tally.held_time.total_s, "parked_s": self._tally.parked_time.total_s}
        return {**{name: counts[name] for name in _COUNTED if name in counts}, **held}
