"""The writer thread: judges deliveries, has the reports stored, and settles what is committed.

Owns the store. While the database is away it holds the batch in hand, unsettled, and tries again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar

from rpi_health import errors, events
from rpi_health.consumer.backoff import Backoff
from rpi_health.consumer.intake import Intake
from rpi_health.consumer.presence import Presence, Seen
from rpi_health.consumer.pulse import Pulse
from rpi_health.consumer.quarantine import GivenUp, Notes, Quarantine
from rpi_health.consumer.tally import Tally
from rpi_health.delivery import Delivery, Letter, Settling
from rpi_health.payload import decode_all
from rpi_health.report import Envelope, Report

_T = TypeVar("_T")
_FIRST_RETRY_S = 0.1


class Refused(Protocol):
    """A report that the database refuses for good."""

    @property
    def report(self) -> Report: ...

    @property
    def error(self) -> errors.DataRefused: ...


class Store(Notes, Seen, Protocol):
    """What the writer needs of the database. See `rpi_health.store.Store`."""

    def write(self, reports: Sequence[Report]) -> Sequence[Refused]: ...

    def count_stale(self, reports: Sequence[Report]) -> int: ...

    def close(self) -> None: ...


class Writer:
    """Runs on a thread of its own until the intake is closed.

    Args:
        intake: where deliveries come from.
        store: where reports go.
        post: takes the letters for the dead-letter queue, and settles them.
        pulse: how well the queue is heard.
        stopping: set when no more time may be spent on waiting.
        retry_limit_s: the longest delay between two tries.
        observe: called with the payloads of a batch after it was stored, for whoever wants to look at them.
    """

    def __init__(
        self,
        intake: Intake,
        store: Store,
        post: Callable[[list[Letter]], None],
        tally: Tally,
        pulse: Pulse,
        stopping: threading.Event,
        batch_size: int,
        retry_limit_s: float,
        observe: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> None:
        self._intake = intake
        self._store = store
        self._post = post
        self._tally = tally
        self._stopping = stopping
        self._batch_size = batch_size
        self._retry_limit_s = retry_limit_s
        self._observe = observe
        self._log = events.Log(__name__)
        self._presence = Presence(store, pulse, tally)
        # Twice the longest pause between two tries: by then a live consumer has taken its notes back.
        self._quarantine = Quarantine(store, self._write, post, stopping, confirm_after_s=2 * retry_limit_s)
        self._first_session: Settling | None = None
        #: Since when, by the monotonic clock, the batch in hand is being written; None without one.
        self.busy_since: float | None = None
        #: Why nothing can be stored just now; None when all is well.
        self.trouble: errors.DatabaseError | None = None

    def run(self) -> None:
        """Write batches until the intake is closed and empty."""
        try:
            while (batch := self._intake.take(self._batch_size, self._presence.wait_s())) is not None:
                self.busy_since = time.monotonic()
                # What a lost session delivered comes again; writing it now would be done twice.
                if batch and batch[0].session.is_open:
                    with contextlib.suppress(GivenUp):
                        self._handle(batch)
                self._presence.renew()
                self.busy_since = None
            if self.trouble is None:
                self._presence.leave()
        finally:
            self._store.close()

    def _handle(self, batch: list[Delivery]) -> None:
        session = batch[0].session
        self._first_session = self._first_session or session
        is_first = session is self._first_session
        suspects = [delivery for delivery in batch if delivery.redelivered and is_first]
        others = [delivery for delivery in batch if not (delivery.redelivered and is_first)]
        if others:
            self._write(others)
        if suspects:
            self._quarantine.handle(suspects, self._persevere)

    def _write(self, batch: list[Delivery]) -> None:
        reports, letters = _judge(batch, self._log)
        if reports:
            refused = self._store_all(list(reports.values()))
            letters += _refused_letters(batch, reports, refused)
        if self._observe is not None:
            # Only now: a payload shares its lists with the report, and an observer may change what it is given.
            self._observe([report.payload for report in reports.values()])
        self._tally.batches += 1
        self._tally.batch_sizes.observe(len(batch))
        self._settle(batch, letters)

    def _store_all(self, reports: list[Report]) -> Sequence[Refused]:
        """Store reports however long that takes, and note what it was like."""
        tally = self._tally
        stale = None if tally.stale is None else self._persevere(lambda: self._count_stale(reports))
        refused = self._persevere(lambda: self._timed_write(reports))
        tally.last_commit_at = datetime.now(timezone.utc)
        if stale is not None:
            tally.stale = (tally.stale or 0) + stale
        return refused

    def _count_stale(self, reports: list[Report]) -> int:
        try:
            return self._store.count_stale(reports)
        except errors.DataRefused:
            return 0  # what is stored of a device cannot be read: no reason not to write

    def _timed_write(self, reports: list[Report]) -> Sequence[Refused]:
        began_at = time.monotonic()
        refused = self._store.write(reports)
        self._tally.write_times_s.observe(time.monotonic() - began_at)
        return refused

    def _settle(self, batch: list[Delivery], letters: list[Letter]) -> None:
        bad = {letter.delivery.tag for letter in letters}
        settled = [delivery.tag for delivery in batch if delivery.tag not in bad]
        self._tally.stored += len(settled)
        if settled:
            batch[0].session.settle(settled)
        if letters:
            self._post(letters)

    def _persevere(self, step: Callable[[], _T]) -> _T:
        """Do a step in the database however often it takes. Raises `GivenUp` when told to stop meanwhile.

        The batch stays in hand even when its session is lost or parked: only the write that failed can prove that
        writes work again, and storing what comes again changes nothing.
        """
        backoff = Backoff(_FIRST_RETRY_S, self._retry_limit_s)
        while True:
            try:
                outcome = step()
            except errors.DatabaseError as error:
                self._note_trouble(error)
            else:
                self._note_recovery()
                return outcome
            if self._stopping.wait(backoff.next_s()):
                raise GivenUp

    def _note_trouble(self, error: errors.DatabaseError) -> None:
        self._tally.database_retries += 1
        # One outage may have several causes, one after the other. Whoever is to mend it must see the present one.
        if str(error) != str(self.trouble):
            self._log.say(events.DATABASE_HELD, error=error)
        self.trouble = error
        self._tally.held_time.start()

    def _note_recovery(self) -> None:
        if self.trouble is not None:
            self._log.say(events.DATABASE_BACK)
        self.trouble = None
        self._tally.held_time.stop()


def _judge(batch: list[Delivery], log: events.Log) -> tuple[dict[int, Report], list[Letter]]:
    """The reports of a batch by tag, and the letters for what is none."""
    reports: dict[int, Report] = {}
    letters: list[Letter] = []
    for delivery, outcome in zip(batch, _decode(batch, log)):
        if isinstance(outcome, Report):
            reports[delivery.tag] = outcome
        else:
            letters.append(Letter(delivery, outcome.reason, outcome.detail))
    return reports, letters


def _decode(batch: list[Delivery], log: events.Log) -> Sequence[Report | errors.Rejection]:
    messages = [(delivery.body, _envelope(delivery)) for delivery in batch]
    try:
        return decode_all(messages)
    except Exception as error:
        # A defect of ours must not stop the queue: the message is kept where somebody will look at it.
        if len(batch) > 1:
            return [outcome for delivery in batch for outcome in _decode([delivery], log)]
        log.say(events.DECODER_FAILED, error=error)
        return [errors.Rejection("poison", f"reading it failed with {type(error).__name__}")]


def _envelope(delivery: Delivery) -> Envelope:
    properties = delivery.properties
    return Envelope(
        delivery.received_at,
        delivery.session.token + delivery.tag.to_bytes(8, "big"),
        delivery.waiting,
        properties.content_encoding,
        properties.message_id,
        properties.timestamp,
        properties.headers or {},
    )


def _refused_letters(batch: list[Delivery], reports: dict[int, Report], refused: Sequence[Refused]) -> list[Letter]:
    if not refused:
        return []
    # By digest and device: the store may have given a report another time.
    why = {(r.report.raspberry_id, r.report.digest): str(r.error)[:300] for r in refused}
    keys = {tag: (report.raspberry_id, report.digest) for tag, report in reports.items()}
    return [Letter(d, "db_rejected", why[keys[d.tag]]) for d in batch if keys.get(d.tag) in why]
