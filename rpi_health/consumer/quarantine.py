"""Setting a message aside that kills the process each time it is handled.

A process that died cannot tell what it had in hand, so it is noted beforehand: not for every message, which would cost
a second transaction, but for those that are redelivered to a process in its first session, as after a death. Those are
noted and handled together first; if that kills the process again, one by one; and what was in hand too often is
dead-lettered as `poison`. All consumers of a queue share the notes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Protocol, TypeVar

from rpi_health.delivery import Delivery, Letter

#: A message is poison when so many attempts to handle it, after the first one, did not end.
MAX_ATTEMPTS = 3

_T = TypeVar("_T")


class Attempts(Protocol):
    """Where unfinished attempts are noted, so that they outlive the process."""

    def attempts(self, digests: Collection[bytes]) -> dict[bytes, int]: ...

    def count_attempt(self, digests: Collection[bytes], now: datetime) -> None: ...

    def forget_attempts(self, digests: Collection[bytes]) -> None: ...


class Quarantine:
    """Handles batches that may hold the culprit of an earlier death.

    Args:
        notes: where attempts are noted.
        write: stores and settles deliveries as usual.
        post: takes letters for the dead-letter queue.
    """

    def __init__(
        self, notes: Attempts, write: Callable[[list[Delivery]], None], post: Callable[[list[Letter]], None]
    ) -> None:
        self._notes = notes
        self._write = write
        self._post = post

    def handle(self, batch: Sequence[Delivery], persevere: Callable[[Callable[[], object]], object]) -> None:
        """Handle a batch with care. `persevere` does a step in the database however often it takes."""
        digests = {delivery.tag: blake2b(delivery.body, digest_size=16).digest() for delivery in batch}
        attempts: dict[bytes, int] = {}
        persevere(lambda: attempts.update(self._notes.attempts(set(digests.values()))))
        fresh: list[Delivery] = []
        suspects: list[Delivery] = []
        poison: list[Delivery] = []
        for delivery in batch:
            before = attempts.get(digests[delivery.tag], 0)
            (fresh if before == 0 else suspects if before < MAX_ATTEMPTS else poison).append(delivery)
        if poison:
            self._post([_letter(delivery) for delivery in poison])
        for portion in ([fresh] if fresh else []) + [[suspect] for suspect in suspects]:
            in_hand = {digests[delivery.tag] for delivery in portion}
            persevere(lambda noted=in_hand: self._notes.count_attempt(noted, datetime.now(timezone.utc)))  # type: ignore[misc]
            self._write(portion)
            persevere(lambda noted=in_hand: self._notes.forget_attempts(noted))  # type: ignore[misc]


def _letter(delivery: Delivery) -> Letter:
    return Letter(delivery, "poison", f"the consumer died {MAX_ATTEMPTS} times and more with this message in hand")
