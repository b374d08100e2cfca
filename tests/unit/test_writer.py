"""The writer settles what is stored, after it is stored, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from rpi_health import errors
from rpi_health.consumer import writer as writer_module
from rpi_health.consumer.intake import Intake
from rpi_health.consumer.pulse import Pulse
from rpi_health.consumer.tally import Tally
from rpi_health.consumer.writer import Writer
from rpi_health.delivery import Delivery, Letter
from rpi_health.presence import Beat
from rpi_health.report import Report
from tests.unit.settling import RememberingSession, delivery, tags

#: A writer pauses for no longer between two tries.
NO_TIME_S = 0.001


class Refused(NamedTuple):
    report: Report
    error: errors.DataRefused


class Store:
    """Answers as it is told, in order; then, and without orders, it stores."""

    def __init__(self, events: list[str], *answers: Exception | Callable[[Sequence[Report]], list[Refused]]) -> None:
        self._events = events
        self._answers = list(answers)
        self.noted: set[bytes] = set()
        self.stored: list[str] = []

    def count_stale(self, reports: Sequence[Report]) -> int:
        return len(reports)

    def write(self, reports: Sequence[Report]) -> list[Refused]:
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            self._events.append("failed")
            raise answer
        refused = answer(reports) if answer else []
        self._events.append("stored with a note" if self.noted else "stored")
        self.stored += [report.raspberry_id for report in reports]
        return refused

    def notes_of_others(self, digests: Collection[bytes], owner: bytes) -> set[Any]:
        return set()

    def note(self, digests: Collection[bytes], owner: bytes, now: datetime) -> None:
        self.noted.update(digests)

    def withdraw_notes(self, digests: Collection[bytes], owner: bytes) -> None:
        self.noted.difference_update(digests)

    def clear_notes(self, digests: Collection[bytes]) -> None:
        self.noted.difference_update(digests)

    def beat(self, beat: Beat) -> None:
        """Nobody looks."""

    def leave(self) -> None:
        """Nobody looks."""

    def close(self) -> None:
        self._events.append("closed")


class Run(NamedTuple):
    """What a writer did with some deliveries.

    Args:
        events: what happened, in order.
        letters: what was posted to the dead-letter queue.
    """

    store: Store
    events: list[str]
    letters: list[Letter]
    tally: Tally


def write(
    make: Callable[[list[str]], Sequence[Delivery]],
    *answers: Any,
    stopping: bool = False,
    batch_size: int = 100,
) -> Run:
    """Have a writer handle deliveries until there are no more, with a store that gives these answers."""
    run = Run(Store(events := [], *answers), events, [], Tally())
    intake, stop = Intake(), threading.Event()
    if stopping:
        stop.set()
    for each in make(events):
        intake.put(each)
    intake.close()
    observe = lambda _payloads: events.append("observed")  # noqa: E731
    Writer(intake, run.store, run.letters.extend, run.tally, Pulse(), stop, batch_size, NO_TIME_S, observe).run()
    return run


def test_messages_are_settled_after_they_are_stored() -> None:
    run = write(lambda events: [delivery(RememberingSession(events), 1)])
    assert (run.events[0], run.events.count("settled")) == ("stored", 1)


def test_payloads_are_observed_after_they_are_stored() -> None:
    away = errors.DatabaseUnavailable("away")
    run = write(lambda events: [delivery(RememberingSession(events), 1)], away, away)
    assert run.events[:4] == ["failed", "failed", "stored", "observed"]


@pytest.mark.parametrize("error", [errors.DatabaseUnavailable, errors.DatabaseMisconfigured])
def test_batch_is_tried_again_until_it_is_stored_and_only_then_settled(error: type[errors.DatabaseError]) -> None:
    session = RememberingSession()
    run = write(lambda _: [delivery(session, 1), delivery(session, 2)], *[error("not now")] * 5)
    assert run.events[:6] == ["failed"] * 5 + ["stored"]
    assert (session.settled, run.letters, run.tally.database_retries) == ([1, 2], [], 5)


def test_stop_while_nothing_can_be_stored_leaves_the_messages_unsettled() -> None:
    session = RememberingSession()
    away = [errors.DatabaseUnavailable("away")] * 3
    run = write(lambda _: [delivery(session, 1)], *away, stopping=True)
    assert (run.events, session.settled, run.letters) == (["failed", "closed"], [], [])


def test_what_is_no_report_is_posted_and_left_to_whom_it_was_posted() -> None:
    session = RememberingSession()
    run = write(lambda _: [delivery(session, 1), delivery(session, 2, b"bad"), delivery(session, 3)])
    assert (session.settled, run.store.stored) == ([1, 3], ["pi-1", "pi-3"])
    assert [(letter.delivery.tag, letter.reason) for letter in run.letters] == [(2, "bad_json")]


def test_report_that_the_database_refuses_is_posted_and_its_neighbours_are_settled() -> None:
    session = RememberingSession()
    run = write(
        lambda _: [delivery(session, tag) for tag in (1, 2, 3)],
        lambda reports: [Refused(reports[1], errors.DataRefused("too much"))],
    )
    assert session.settled == [1, 3]
    assert [(letter.delivery.tag, letter.reason, letter.detail) for letter in run.letters] == [
        (2, "db_rejected", "too much")
    ]


def test_defect_in_reading_costs_one_message_and_does_not_stop_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_all = writer_module.decode_all

    def decode_or_fail(messages: Sequence[tuple[bytes, Any]]) -> Sequence[Report | errors.Rejection]:
        if any(b"pi-2" in body for body, _ in messages):
            raise ZeroDivisionError
        return decode_all(messages)

    monkeypatch.setattr(writer_module, "decode_all", decode_or_fail)
    session = RememberingSession()
    run = write(lambda _: [delivery(session, tag) for tag in (1, 2, 3)])
    assert session.settled == [1, 3]
    assert [(letter.delivery.tag, letter.reason) for letter in run.letters] == [(2, "poison")]


def test_what_a_lost_session_delivered_is_left_to_its_redelivery() -> None:
    """Stored now, an undated report would be stored twice: its redelivery cannot be told from another one."""
    lost, live = RememberingSession(), RememberingSession()
    lost.is_open = False
    run = write(lambda _: [delivery(lost, 1), delivery(live, 2)])
    assert (run.store.stored, lost.settled, live.settled) == (["pi-2"], [], [2])


def test_each_session_settles_what_it_delivered() -> None:
    one, two = RememberingSession(), RememberingSession()
    write(lambda _: [delivery(one, 1), delivery(one, 2), delivery(two, 1)])
    assert (one.settled, two.settled) == ([1, 2], [1])


def test_what_may_have_killed_a_process_is_noted_while_it_is_handled_and_no_longer() -> None:
    session = RememberingSession()
    run = write(lambda _: [delivery(session, 1), delivery(session, 2, redelivered=True)])
    assert [event for event in run.events if event.startswith("stored")] == ["stored", "stored with a note"]
    assert (session.settled, run.store.noted) == ([1, 2], set())


def test_redelivery_to_a_process_that_lives_on_is_no_reason_for_a_note() -> None:
    one, two = RememberingSession(), RememberingSession()
    run = write(lambda _: [delivery(one, 1), delivery(two, 1, redelivered=True)])
    assert [event for event in run.events if event.startswith("stored")] == ["stored", "stored"]


def test_transaction_holds_no_more_than_a_batch() -> None:
    session = RememberingSession()
    run = write(lambda _: [delivery(session, tag) for tag in range(1, 8)], batch_size=3)
    assert (run.events.count("stored"), run.tally.batches) == (3, 3)
    assert session.settled == list(range(1, 8))


def test_tags_of_a_batch_are_settled_in_order() -> None:
    session = RememberingSession()
    batch = [delivery(session, tag) for tag in range(1, 30)]
    write(lambda _: batch)
    assert session.settled == tags(batch)
