"""What the consumer has done since it started, as plain counts."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from rpi_health.consumer.measures import Histogram, Stopwatch
from rpi_health.errors import REASONS

_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_WRITE_TIMES_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Tally:
    """Counts since the start. Each is raised by one thread only; any thread may read them."""

    def __init__(self) -> None:
        # Raised by the I/O thread.
        self.deliveries = 0
        self.redelivered = 0
        self.sessions = 0
        self.retries = 0
        self.settled = 0
        self.parked = 0
        self.parked_time = Stopwatch()
        # Raised by the writer thread.
        self.batches = 0
        self.stored = 0
        self.stale: int | None = None  # unless somebody counts them
        self.database_retries = 0
        self.held_time = Stopwatch()
        self.batch_sizes = Histogram(_BATCH_SIZES)
        self.write_times_s = Histogram(_WRITE_TIMES_S)
        self.last_commit_at: datetime | None = None
        # Raised by the dead-letter thread.
        self.dead_lettered: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.dead_letter_retries = 0
        self.dead_letters_held = 0

    @property
    def stale_acks(self) -> int:
        """Messages dealt with whose session was lost before the ack: they are delivered again, and change nothing."""
        return self.stored + sum(self.dead_lettered.values()) - self.settled

    def counts(self) -> dict[str, int]:
        """The counts by name, for a log line."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return {**plain, "dead_lettered": sum(self.dead_lettered.values()), "stale_acks": self.stale_acks}
