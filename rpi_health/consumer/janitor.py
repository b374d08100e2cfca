"""The thread that deletes old reports: rarely at work, and never in the way of messages."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator
from typing import Protocol

from rpi_health import errors, events

#: How often to look whether there is anything to do.
_LOOK_S = 600.0
#: After each transaction it rests, for so many times as long as that took, so that the database is free for messages.
_REST = 4.0
_LONGEST_REST_S = 10.0


class Upkeep(Protocol):
    """What is to be done. See `rpi_health.store.Upkeep`."""

    def round(self) -> Generator[int, None, None]: ...

    def close(self) -> None: ...


class Janitor:
    """Runs on a thread of its own until it is told to stop.

    Args:
        upkeep: used by this thread only.
        stopping: set when it is to stop.
    """

    def __init__(self, upkeep: Upkeep, stopping: threading.Event) -> None:
        self._upkeep = upkeep
        self._stopping = stopping
        self._trouble = ""
        self._log = events.Log(__name__)

    def run(self) -> None:
        """Do rounds, now and then, until told to stop. What fails is said once, and tried again with the next."""
        try:
            while not self._stopping.is_set():
                try:
                    self._go_round()
                    self._trouble = ""
                except errors.DatabaseError as error:
                    self._note_trouble(error)
                except Exception as error:
                    # A defect of ours must not stop the queue.
                    self._log.say(events.PRUNE_DEFECT, error=error)
                self._stopping.wait(_LOOK_S)
        finally:
            self._upkeep.close()

    def _go_round(self) -> None:
        deleted = 0
        began_at = time.monotonic()
        try:
            with contextlib.closing(self._upkeep.round()) as steps:
                for count in steps:
                    deleted += count
                    if self._stopping.wait(min(_REST * (time.monotonic() - began_at), _LONGEST_REST_S)):
                        break
                    began_at = time.monotonic()
        finally:
            if deleted:
                self._log.say(events.PRUNED, reports=deleted)

    def _note_trouble(self, error: errors.DatabaseError) -> None:
        if str(error) != self._trouble:
            self._log.say(events.PRUNE_FAILED, error=error)
        self._trouble = str(error)
