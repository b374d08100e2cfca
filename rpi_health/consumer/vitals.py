"""Whether the I/O thread gets on: what it waits for, and that it has not stopped turning."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rpi_health import errors

# Longer than any attempt to reach a broker may take, by several addresses and with names that resolve slowly.
_TURN_WITHIN_S = 300.0


class Vitals:
    """Noted by the I/O thread; any thread may ask."""

    def __init__(self) -> None:
        self._turns_until = time.monotonic() + _TURN_WITHIN_S
        #: Why broker or database could not be used last; None once they were.
        self.trouble: errors.RpiHealthError | None = None

    def turn(self, pause_s: float = 0.0) -> None:
        """Note that the thread is at work, and will be again after a pause."""
        self._turns_until = time.monotonic() + pause_s + _TURN_WITHIN_S

    def not_live(self) -> Iterator[str]:
        """Why the thread will make no progress."""
        late_s = time.monotonic() - self._turns_until
        if late_s > 0:
            yield f"The thread that talks to the broker hangs for {late_s + _TURN_WITHIN_S:.0f} s: restart the process."
