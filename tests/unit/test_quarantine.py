"""A message is accused by what processes left behind when they died, and by nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import datetime
from hashlib import blake2b
from typing import Any

import pytest

from rpi_health.consumer.quarantine import MAX_NOTES, GivenUp, Note, Quarantine
from rpi_health.delivery import Delivery, Letter
from tests.unit.settling import RememberingSession, delivery, tags


class Notes:
    """Notes in memory."""

    def __init__(self) -> None:
        self.kept: set[Note] = set()

    def notes_of_others(self, digests: Collection[bytes], owner: bytes) -> set[Note]:
        return {note for note in self.kept if note[0] in digests and note[1] != owner}

    def note(self, digests: Collection[bytes], owner: bytes, now: datetime) -> None:
        self.kept |= {(digest, owner, now) for digest in digests}

    def withdraw_notes(self, digests: Collection[bytes], owner: bytes) -> None:
        self.kept = {note for note in self.kept if note[0] not in digests or note[1] != owner}

    def of(self, delivery: Delivery) -> set[Note]:
        return self.notes_of_others([blake2b(delivery.body, digest_size=16).digest()], b"nobody")

    def clear_notes(self, digests: Collection[bytes]) -> None:
        self.kept = {note for note in self.kept if note[0] not in digests}


class Pause(threading.Event):
    """No time passes while somebody waits, but something happens."""

    def __init__(self, happens: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._happens = happens

    def wait(self, timeout: float | None = None) -> bool:
        self._happens()
        return self.is_set()


class Process:
    """A process that handles redelivered messages, until one of them kills it.

    Args:
        notes: shared with others.
        deadly: the tag of a message that it does not outlive.
    """

    def __init__(self, notes: Notes, deadly: int | None = None, pause: Pause | None = None) -> None:
        self.written: list[list[int]] = []
        self.letters: list[Letter] = []
        self._notes = notes
        self._deadly = deadly
        self._quarantine = Quarantine(notes, self._write, self.letters.extend, pause or Pause(), 1)

    def handle(self, *deliveries: Delivery) -> None:
        self._quarantine.handle(deliveries, lambda step: step())

    def _write(self, deliveries: list[Delivery]) -> None:
        self.written.append(tags(deliveries))
        if self._deadly in tags(deliveries):
            raise Death


class Death(BaseException):
    """Nothing that runs after it would run in a process that is gone; `Exception` is what it is not."""


def three() -> list[Delivery]:
    session = RememberingSession()
    return [delivery(session, tag, redelivered=True) for tag in (1, 2, 3)]


def die_of(deadly: int, notes: Notes, times: int) -> list[Process]:
    dead = []
    for _ in range(times):
        process = Process(notes, deadly)
        with pytest.raises(Death):
            process.handle(*three())
        dead.append(process)
    return dead


def test_what_kills_process_after_process_is_dead_lettered_and_forgotten_and_the_others_are_written() -> None:
    notes = Notes()
    die_of(2, notes, MAX_NOTES)
    survivor = Process(notes, deadly=2)
    survivor.handle(*three())
    assert [(letter.delivery.tag, letter.reason) for letter in survivor.letters] == [(2, "poison")]
    assert survivor.written == [[1], [3]]
    assert notes.of(three()[1]) == set()


def test_what_a_process_left_a_note_on_is_handled_alone() -> None:
    notes = Notes()
    die_of(2, notes, 1)
    process = Process(notes)
    process.handle(*three())
    assert process.written == [[1], [2], [3]]
    assert process.letters == []


def test_messages_that_were_there_when_another_one_killed_are_acquitted() -> None:
    notes = Notes()
    (first, *_), last = die_of(2, notes, MAX_NOTES), Process(notes)
    assert first.written == [[1, 2, 3]]
    last.handle(*three())
    assert [letter.delivery.tag for letter in last.letters] == [2]


def test_notes_that_live_processes_take_back_accuse_nothing() -> None:
    notes = Notes()
    die_of(2, notes, MAX_NOTES)
    process = Process(notes, pause=Pause(lambda: notes.kept.clear()))
    process.handle(*three())
    assert (process.letters, process.written) == ([], [[1], [2], [3]])


@pytest.mark.parametrize("error", [GivenUp, ZeroDivisionError])
def test_process_that_ends_in_good_order_leaves_no_note(error: type[Exception]) -> None:
    notes = Notes()

    def fail(_deliveries: list[Delivery]) -> None:
        raise error

    posted: list[Any] = []
    with pytest.raises(error):
        Quarantine(notes, fail, posted.extend, Pause(), 1).handle(three(), lambda step: step())
    assert (notes.kept, posted) == (set(), [])


def test_stop_while_an_accusation_is_being_confirmed_dead_letters_nothing() -> None:
    notes, pause = Notes(), Pause()
    die_of(2, notes, MAX_NOTES)
    pause.set()
    process = Process(notes, pause=pause)
    with pytest.raises(GivenUp):
        process.handle(*three())
    assert process.letters == []


def test_own_notes_accuse_nothing() -> None:
    notes = Notes()
    process = Process(notes)
    for _ in range(MAX_NOTES + 1):
        process.handle(*three())
    assert process.letters == []


def test_deaths_that_a_message_was_outlived_after_never_add_up() -> None:
    """Heartbeats without a time are alike to the byte, for years."""
    notes = Notes()
    for _ in range(MAX_NOTES + 1):
        die_of(2, notes, 1)
        process = Process(notes)
        process.handle(*three())
        assert (process.letters, notes.kept) == ([], set())


def test_messages_that_are_exactly_alike_are_judged_together() -> None:
    notes, session = Notes(), RememberingSession()
    twins = [delivery(session, tag, body=b"{}", redelivered=True) for tag in (1, 2)]
    for _ in range(MAX_NOTES):
        with pytest.raises(Death):
            Process(notes, deadly=1).handle(*twins)
    looks: list[None] = []
    survivor = Process(notes, pause=Pause(lambda: looks.append(None)))
    survivor.handle(*twins)
    assert [letter.delivery.tag for letter in survivor.letters] == [1, 2]
    alone = len(looks)
    for _ in range(MAX_NOTES):
        with pytest.raises(Death):
            Process(notes, deadly=1).handle(twins[0])
    looks.clear()
    Process(notes, pause=Pause(lambda: looks.append(None))).handle(twins[0])
    assert len(looks) == alone > 0
