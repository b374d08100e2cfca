"""Setting a message aside that kills the process each time it is handled.

A process that died cannot tell what it had in hand, so it is noted beforehand: not for every message, which would cost
a second transaction, but for those that are redelivered to a process in its first session, as after a death. Those are
noted and handled together first; where another process left a note on one, it is handled alone, together with those
that are exactly alike; and what too many processes did not outlive is dead-lettered as `poison`. All consumers of a
queue share the notes.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Protocol

from rpi_health import errors
from rpi_health.delivery import Delivery, Letter

#: A message is poison when so many other processes noted it and never took the note back.
MAX_NOTES = 3
#: So often is looked, within the time that a live process may take, whether it took its note back.
_LOOKS = 10

#: Which message (digest), which process, and when.
Note = tuple[bytes, bytes, datetime]

#: Does a step in the database however often it takes.
Persevere = Callable[[Callable[[], object]], object]


class GivenUp(Exception):
    """The messages in hand stay unsettled: the broker delivers them again."""


class Notes(Protocol):
    """Which process had which message in hand, where it outlives the process. See `rpi_health.store.Store`."""

    def notes_of_others(self, digests: Collection[bytes], owner: bytes) -> set[Note]: ...

    def note(self, digests: Collection[bytes], owner: bytes, now: datetime) -> None: ...

    def withdraw_notes(self, digests: Collection[bytes], owner: bytes) -> None: ...

    def clear_notes(self, digests: Collection[bytes]) -> None: ...


class Quarantine:
    """Handles deliveries that may include the culprit of an earlier death.

    Args:
        notes: where they are kept.
        write: stores and settles deliveries as usual.
        post: takes letters for the dead-letter queue.
        stopping: set when no more time may be spent on waiting.
        confirm_after_s: how long to wait before a note counts as left behind: a live process takes its notes back
            sooner, once the database works.
    """

    def __init__(
        self,
        notes: Notes,
        write: Callable[[list[Delivery]], None],
        post: Callable[[list[Letter]], None],
        stopping: threading.Event,
        confirm_after_s: float,
    ) -> None:
        self._owner = os.urandom(8)
        self._notes = notes
        self._write = write
        self._post = post
        self._stopping = stopping
        self._confirm_after_s = confirm_after_s

    def handle(self, batch: Sequence[Delivery], persevere: Persevere) -> None:
        """Handle redelivered messages with care."""
        alike = _by_digest(batch)
        notes = self._read_notes(set(alike), persevere)
        noted = {digest for digest, _, _ in notes}
        unsuspected = [delivery for digest, same in alike.items() if digest not in noted for delivery in same]
        if unsuspected:
            self._attempt(sorted(unsuspected, key=lambda delivery: delivery.tag), alike.keys() - noted, persevere)
        for digest, same in alike.items():
            if digest in noted:
                self._handle_alone(same, digest, {note for note in notes if note[0] == digest}, persevere)

    def _handle_alone(self, same: list[Delivery], digest: bytes, notes: set[Note], persevere: Persevere) -> None:
        """Handle messages that are exactly alike: thousands of heartbeats may be, and each judgement takes time."""
        if self._is_poison(digest, notes, persevere):
            self._post([_letter(delivery) for delivery in same])
        else:
            self._attempt(same, {digest}, persevere)
        # Dealt with, or outlived: what others left would accuse the next one that is alike, such as a heartbeat.
        persevere(lambda: self._notes.clear_notes([digest]))

    def _is_poison(self, digest: bytes, notes: set[Note], persevere: Persevere) -> bool:
        # Other consumers may have the same message, or one just like it, in hand at this very moment: their notes go.
        for _ in range(_LOOKS):
            if len(notes) < MAX_NOTES:
                return False
            if self._stopping.wait(self._confirm_after_s / _LOOKS):
                raise GivenUp
            notes = notes & self._read_notes({digest}, persevere)
        return len(notes) >= MAX_NOTES

    def _read_notes(self, digests: set[bytes], persevere: Persevere) -> set[Note]:
        notes: set[Note] = set()
        persevere(lambda: notes.update(self._notes.notes_of_others(digests, self._owner)))
        return notes

    def _attempt(self, deliveries: list[Delivery], digests: set[bytes], persevere: Persevere) -> None:
        persevere(lambda: self._notes.note(digests, self._owner, datetime.now(timezone.utc)))
        try:
            self._write(deliveries)
        except Exception:
            # Given up, and alive to say so: what is left of the note would accuse a message that killed nobody.
            with contextlib.suppress(errors.DatabaseError):
                self._notes.withdraw_notes(digests, self._owner)
            raise
        persevere(lambda: self._notes.withdraw_notes(digests, self._owner))


def _by_digest(batch: Sequence[Delivery]) -> dict[bytes, list[Delivery]]:
    """Messages of the same digest are exactly alike."""
    alike: dict[bytes, list[Delivery]] = {}
    for delivery in batch:
        alike.setdefault(blake2b(delivery.body, digest_size=16).digest(), []).append(delivery)
    return alike


def _letter(delivery: Delivery) -> Letter:
    return Letter(delivery, "poison", f"{MAX_NOTES} processes or more did not outlive this message")
