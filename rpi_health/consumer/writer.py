"""The writer thread: judges deliveries, has the reports stored, and settles what is committed.

Owns the store. While the database is away it holds the batch in hand, unsettled; held for too long, it asks for the
session to be parked, so that the broker gets the messages back before it loses patience.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from rpi_health import errors
from rpi_health.consumer.backoff import Backoff
from rpi_health.consumer.intake import Intake
from rpi_health.consumer.quarantine import Attempts, Quarantine
from rpi_health.consumer.tally import Tally
from rpi_health.delivery import Delivery, Letter, Settling
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_FIRST_RETRY_S = 0.1
_PARK_TICK_S = 0.05


class Refused(Protocol):
    """A report that the database refuses for good."""

    @property
    def report(self) -> Report: ...

    @property
    def error(self) -> errors.DataRefused: ...


class Store(Attempts, Protocol):
    """What the writer needs of the database. See `rpi_health.store.Store`."""

    def write(self, reports: Sequence[Report]) -> Sequence[Refused]: ...

    def probe(self) -> None: ...

    def close(self) -> None: ...


class _GivenUp(Exception):
    """The batch in hand stays unsettled: the broker delivers it again."""


class Patience(NamedTuple):
    """How the writer behaves while the database is away.

    Args:
        retry_limit_s: the longest delay between two tries.
        park_after_s: after so long, the session is parked.
    """

    retry_limit_s: float
    park_after_s: float


class Writer:
    """Runs on a thread of its own until the intake is closed.

    Args:
        intake: where deliveries come from.
        store: where reports go.
        post: takes the letters for the dead-letter queue, and settles them.
        stopping: set when no more time may be spent on waiting.
        observe: called with the payloads of a batch after it was stored, for whoever wants to look at them.
    """

    def __init__(
        self,
        intake: Intake,
        store: Store,
        post: Callable[[list[Letter]], None],
        tally: Tally,
        stopping: threading.Event,
        batch_size: int,
        patience: Patience,
        observe: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> None:
        self._intake = intake
        self._store = store
        self._post = post
        self._tally = tally
        self._stopping = stopping
        self._batch_size = batch_size
        self._patience = patience
        self._observe = observe
        self._quarantine = Quarantine(store, self._write, post)
        self._first_session: Settling | None = None
        #: Set while nothing can be stored for so long that the session should be parked.
        self.parked = threading.Event()
        #: Why nothing can be stored just now; None when all is well.
        self.trouble: errors.DatabaseError | None = None

    def run(self) -> None:
        """Write batches until the intake is closed and empty."""
        try:
            while batch := self._intake.take(self._batch_size):
                # What a lost session delivered comes again; writing it now would be done twice.
                if batch[0].session.is_open:
                    with contextlib.suppress(_GivenUp):
                        self._handle(batch)
        finally:
            self._store.close()

    def _handle(self, batch: list[Delivery]) -> None:
        session = batch[0].session
        self._first_session = self._first_session or session
        if session is self._first_session and any(delivery.redelivered for delivery in batch):
            self._quarantine.handle(batch, functools.partial(self._persevere, batch[0]))
        else:
            self._write(batch)

    def _write(self, batch: list[Delivery]) -> None:
        reports, letters = _judge(batch)
        if reports:
            refused = self._persevere(batch[0], lambda: self._store.write(list(reports.values())))
            letters += _refused_letters(batch, reports, refused)
        if self._observe is not None:
            # Only now: a payload shares its lists with the report, and an observer may change what it is given.
            self._observe([report.payload for report in reports.values()])
        self._tally.batches += 1
        self._settle(batch, letters)

    def _settle(self, batch: list[Delivery], letters: list[Letter]) -> None:
        bad = {letter.delivery.tag for letter in letters}
        settled = [delivery.tag for delivery in batch if delivery.tag not in bad]
        self._tally.stored += len(settled)
        if settled:
            batch[0].session.settle(settled)
        if letters:
            self._post(letters)

    def _persevere(self, first: Delivery, step: Callable[[], _T]) -> _T:
        """Do a step in the database however often it takes. Raises `_GivenUp` where the batch stays unsettled."""
        backoff = Backoff(_FIRST_RETRY_S, self._patience.retry_limit_s)
        held_since = time.monotonic()
        while True:
            try:
                outcome = step()
            except errors.DatabaseError as error:
                self._note_trouble(error)
            else:
                self._note_recovery()
                return outcome
            if self._stopping.is_set() or not first.session.is_open:
                raise _GivenUp
            if time.monotonic() - held_since >= self._patience.park_after_s:
                self._park(first)
                raise _GivenUp
            self._stopping.wait(backoff.next_s())

    def _park(self, first: Delivery) -> None:
        """Have the session closed, and wait until the database takes writes again."""
        self._tally.parked += 1
        self.parked.set()
        # Were the batch given up while its session lived on, it would stay unsettled for ever.
        while first.session.is_open and not self._stopping.wait(_PARK_TICK_S):
            pass
        backoff = Backoff(_FIRST_RETRY_S, self._patience.retry_limit_s)
        while not self._stopping.wait(backoff.next_s()):
            try:
                self._store.probe()
            except errors.DatabaseError as error:
                self._note_trouble(error)
            else:
                self._note_recovery()
                break
        self.parked.clear()

    def _note_trouble(self, error: errors.DatabaseError) -> None:
        self._tally.database_retries += 1
        if type(error) is not type(self.trouble):
            log.error("Cannot store, the messages are held: %s", error, extra={"event": "database_held"})
        self.trouble = error

    def _note_recovery(self) -> None:
        if self.trouble is not None:
            log.warning("The database takes writes again.", extra={"event": "database_back"})
        self.trouble = None


def _judge(batch: list[Delivery]) -> tuple[dict[int, Report], list[Letter]]:
    """The reports of a batch by tag, and the letters for what is none."""
    reports: dict[int, Report] = {}
    letters: list[Letter] = []
    for delivery in batch:
        try:
            reports[delivery.tag] = decode(delivery.body, _envelope(delivery))
        except errors.Rejection as rejection:
            letters.append(Letter(delivery, rejection.reason, rejection.detail))
        except Exception as error:
            # A defect of ours must not stop the queue: the message is kept where somebody will look at it.
            log.exception("A message could not be read: this is a defect.", extra={"event": "decoder_failed"})
            letters.append(Letter(delivery, "poison", f"reading it failed with {type(error).__name__}"))
    return reports, letters


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
