"""The dead-letter thread: publishes bad messages with confirm, and settles each only then.

A thread of its own, because the broker may keep a publisher waiting for minutes (memory or disk alarm, full queue);
meanwhile the bad messages stay unsettled, and the good ones flow.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence

from rpi_health import errors, events
from rpi_health.consumer.backoff import Backoff
from rpi_health.consumer.tally import Tally
from rpi_health.delivery import Letter

_FIRST_RETRY_S = 0.5
# Each group opens a connection: letters that come so long after the first share it.
_LINGER_S = 0.1

#: Publishes letters; returns the positions of those that were not confirmed, and why.
Publish = Callable[[Sequence[Letter]], "tuple[frozenset[int], errors.BrokerError | None]"]


class DeadLetters:
    """Runs on a thread of its own until it is closed.

    Args:
        publish: publishes letters to the dead-letter queue and waits for the confirms.
        retry_limit_s: the longest delay between two tries.
    """

    def __init__(self, publish: Publish, tally: Tally, retry_limit_s: float) -> None:
        self._publish = publish
        self._tally = tally
        self._backoff = Backoff(_FIRST_RETRY_S, retry_limit_s)
        self._posted: queue.SimpleQueue[list[Letter] | None] = queue.SimpleQueue()
        self._log = events.Log(__name__)
        self._held: list[Letter] = []
        self._due_at = 0.0
        self._closed = False
        #: Why letters cannot be published just now; None when all is well.
        self.trouble: errors.BrokerError | None = None

    def post(self, letters: list[Letter]) -> None:
        """Take charge of these letters. Any thread may call it."""
        self._posted.put(letters)

    def close(self) -> None:
        """Let `run` return after one more try with what is held."""
        self._posted.put(None)

    def run(self) -> None:
        """Publish letters until closed; then try once more with what is left."""
        while not self._closed:
            self._collect()
            # A lost session's messages come again, on another one.
            self._held = [letter for letter in self._held if letter.delivery.session.is_open]
            if self._held:
                self._deliver()
            self._tally.dead_letters_held = len(self._held)

    def _collect(self) -> None:
        """Wait for letters: for the first one as long as it takes, then until those held are due."""
        while not self._closed:
            wait_s = self._due_at - time.monotonic() if self._held else None
            if wait_s is not None and wait_s <= 0:
                return
            try:
                posted = self._posted.get(timeout=wait_s)
            except queue.Empty:
                return
            if not self._held:
                self._due_at = max(self._due_at, time.monotonic() + _LINGER_S)
            self._closed = posted is None
            self._held += posted or ()

    def _deliver(self) -> None:
        """Publish, settle what was confirmed, and keep the others."""
        try:
            failed, error = self._publish(self._held)
        except errors.BrokerError as unavailable:
            failed, error = frozenset(range(len(self._held))), unavailable
        for position, letter in enumerate(self._held):
            if position not in failed:
                self._settle(letter)
        self._held = [self._held[position] for position in sorted(failed)]
        self._note(error)

    def _settle(self, letter: Letter) -> None:
        delivery, reason, detail = letter
        delivery.session.settle([delivery.tag])
        self._tally.dead_lettered[reason] += 1
        self._log.say(events.DEAD_LETTERED, reason=reason, detail=detail)

    def _note(self, error: errors.BrokerError | None) -> None:
        self.trouble = error
        if error is None:
            self._backoff.reset()
            return
        self._tally.dead_letter_retries += 1
        self._due_at = time.monotonic() + self._backoff.next_s()
        self._log.say(events.DEAD_LETTERS_HELD, error=error, held=len(self._held))
