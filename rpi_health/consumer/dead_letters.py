"""The dead-letter thread: publishes bad messages with confirm, and settles each only then.

A thread of its own, because the broker may keep a publisher waiting for minutes (memory or disk alarm, full queue);
meanwhile the bad messages stay unsettled, and the good ones flow.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from rpi_health import errors
from rpi_health.consumer.backoff import Backoff
from rpi_health.consumer.tally import Tally
from rpi_health.delivery import Letter
from rpi_health.rate_limit import RateLimiter

log = logging.getLogger(__name__)
_FIRST_RETRY_S = 0.5
# Each group opens a connection: letters that come during this time share one.
_LINGER_S = 0.1

#: Publishes letters; returns the positions of those that were not confirmed, and why.
Publish = Callable[[Sequence[Letter]], "tuple[frozenset[int], errors.BrokerError | None]"]


class DeadLetters:
    """Runs on a thread of its own until it is closed.

    Args:
        publish: publishes letters to the dead-letter queue and waits for the confirms.
        stopping: set when no more time may be spent on waiting.
    """

    def __init__(self, publish: Publish, tally: Tally, stopping: threading.Event, retry_limit_s: float) -> None:
        self._publish = publish
        self._tally = tally
        self._stopping = stopping
        self._backoff = Backoff(_FIRST_RETRY_S, retry_limit_s)
        self._posted: queue.SimpleQueue[list[Letter] | None] = queue.SimpleQueue()
        self._limiter = RateLimiter()
        self._closed = False
        #: Why letters cannot be published just now; None when all is well.
        self.trouble: errors.BrokerError | None = None

    def post(self, letters: list[Letter]) -> None:
        """Take charge of these letters. Any thread may call it."""
        self._posted.put(letters)

    def close(self) -> None:
        """Let `run` return once all letters are settled or cannot be."""
        self._posted.put(None)

    def run(self) -> None:
        """Publish letters until closed."""
        letters: list[Letter] = []
        while not (self._closed and (not letters or (self._stopping.is_set() and self.trouble))):
            letters += self._collect(wait=not letters)
            # A lost session's messages come again, on another one.
            letters = [letter for letter in letters if letter.delivery.session.is_open]
            if letters:
                letters = self._deliver(letters)

    def _collect(self, wait: bool) -> list[Letter]:
        collected: list[Letter] = []
        try:
            while not self._closed:
                posted = self._posted.get(block=wait, timeout=None if wait and not collected else _LINGER_S)
                self._closed = posted is None
                collected += posted or ()
        except queue.Empty:
            pass
        return collected

    def _deliver(self, letters: list[Letter]) -> list[Letter]:
        """Publish, and settle what was confirmed. Returns the others."""
        try:
            failed, error = self._publish(letters)
        except errors.BrokerError as unavailable:
            failed, error = frozenset(range(len(letters))), unavailable
        for position, letter in enumerate(letters):
            if position not in failed:
                self._settle(letter)
        self._note(error, len(failed))
        return [letters[position] for position in sorted(failed)]

    def _settle(self, letter: Letter) -> None:
        delivery, reason, detail = letter
        delivery.session.settle([delivery.tag])
        self._tally.dead_lettered[reason] += 1
        suppressed = self._limiter.allow(reason)
        if suppressed is not None:
            fields = {"event": "dead_lettered", "reason": reason, "detail": detail, "suppressed": suppressed}
            log.warning("Dead-lettered a message.", extra=fields)

    def _note(self, error: errors.BrokerError | None, held: int) -> None:
        self.trouble = error
        if error is None:
            self._backoff.reset()
            return
        self._tally.dead_letter_retries += 1
        fields = {"event": "dead_letters_held", "held": held}
        log.error("Cannot publish dead letters, the messages stay in their queue: %s", error, extra=fields)
        self._stopping.wait(self._backoff.next_s())
