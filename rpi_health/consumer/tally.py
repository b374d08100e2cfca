"""What the consumer has done since it started, as plain counts."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Tally:
    """Counts since the start. Each is raised by one thread only; any thread may read them."""

    def __init__(self) -> None:
        # Raised by the I/O thread.
        self.deliveries = 0
        self.redelivered = 0
        self.sessions = 0
        self.settled = 0
        self.parked = 0
        # Raised by the writer thread.
        self.batches = 0
        self.stored = 0
        self.database_retries = 0
        # Raised by the dead-letter thread.
        self.dead_lettered: Counter[str] = Counter()
        self.dead_letter_retries = 0

    @property
    def stale_acks(self) -> int:
        """Messages dealt with whose session was lost before the ack: they are delivered again, and change nothing."""
        return self.stored + sum(self.dead_lettered.values()) - self.settled

    def as_fields(self) -> dict[str, Any]:
        """The counts by name, for a log line."""
        return {**vars(self), "dead_lettered": sum(self.dead_lettered.values()), "stale_acks": self.stale_acks}
