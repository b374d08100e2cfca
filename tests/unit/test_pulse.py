"""When the fleet is heard: connected, and behind no backlog."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rpi_health import errors
from rpi_health.consumer import presence as presence_module
from rpi_health.consumer import pulse as pulse_module
from rpi_health.consumer.presence import Presence
from rpi_health.consumer.pulse import Pulse
from rpi_health.consumer.tally import Tally
from rpi_health.presence import BEAT_S, GONE_AFTER_S, Beat


class Clock:
    """The monotonic clock of a test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Session:
    """A session whose queue has so many messages."""

    def __init__(self, waiting: int) -> None:
        self.waiting = self.ready = waiting
        self.delivered = 0
        self.asked: list[Callable[[int], None]] = []

    def ask_ready(self, answer: Callable[[int], None]) -> None:
        self.asked.append(answer)

    def answer(self) -> None:
        self.asked.pop()(self.ready)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (pulse_module, presence_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


def look(pulse: Pulse, session: Session, clock: Clock, *, delivered: int, ready: int) -> bool:
    """Let a beat pass, in which so many messages came. Returns whether the fleet is heard."""
    clock.now += BEAT_S
    session.delivered += delivered
    session.ready = ready
    pulse.look()
    session.answer()
    return pulse.is_listening


def test_without_a_session_nothing_is_heard() -> None:
    pulse = Pulse()
    assert (pulse.is_connected, pulse.is_listening, pulse.backlog) == (False, False, None)
    pulse.opened(Session(0))
    assert (pulse.is_connected, pulse.is_listening, pulse.backlog) == (True, True, 0)
    pulse.lost()
    assert (pulse.is_connected, pulse.is_listening, pulse.backlog) == (False, False, None)


def test_backlog_has_to_be_taken_first(clock: Clock) -> None:
    pulse, session = Pulse(), Session(1000)
    pulse.opened(session)
    assert not pulse.is_listening
    assert not look(pulse, session, clock, delivered=400, ready=900)
    assert not look(pulse, session, clock, delivered=800, ready=300)
    assert look(pulse, session, clock, delivered=300, ready=50)
    assert look(pulse, session, clock, delivered=50, ready=200)
    assert not look(pulse, session, clock, delivered=50, ready=9000)  # it cannot keep up
    assert look(pulse, session, clock, delivered=0, ready=0)  # others took it


def test_broker_that_does_not_answer_is_asked_once_and_not_heard(clock: Clock) -> None:
    pulse, session = Pulse(), Session(0)
    pulse.opened(session)
    for _ in range(10):
        clock.now += BEAT_S
        pulse.look()
    assert (len(session.asked), pulse.is_connected, pulse.is_listening) == (1, True, False)


def test_answer_of_a_session_that_is_lost_says_nothing_of_the_next(clock: Clock) -> None:
    pulse, lost, session = Pulse(), Session(0), Session(500)
    pulse.opened(lost)
    clock.now += BEAT_S
    pulse.look()
    pulse.lost()
    lost.answer()
    assert not pulse.is_connected
    pulse.opened(session)
    assert (pulse.is_listening, pulse.backlog) == (False, 500)


class Seen:
    """Notes what it is told, or is away."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.left = False
        self.error: errors.DatabaseError | None = None

    def beat(self, beat: Beat) -> None:
        if self.error is not None:
            raise self.error
        self.beats.append(beat)

    def leave(self) -> None:
        self.left = True


def test_beats_come_in_time_and_at_once_when_the_fleet_is_heard(clock: Clock) -> None:
    seen, pulse, tally = Seen(), Pulse(), Tally()
    presence = Presence(seen, pulse, tally)
    presence.renew()
    presence.renew()
    assert [beat.listening for beat in seen.beats] == [False]
    pulse.opened(Session(0))
    clock.now += 1.0
    tally.stored = 30
    presence.renew()
    clock.now += BEAT_S - 0.1
    presence.renew()
    assert [(beat.listening, beat.rate) for beat in seen.beats] == [(False, 0.0), (True, 30.0)]
    clock.now += 0.1
    presence.renew()
    assert len(seen.beats) == 3
    presence.leave()
    assert (len(seen.beats), seen.left) == (4, True)
    assert GONE_AFTER_S > 2 * BEAT_S  # one that comes late is not the end


def test_beat_that_fails_is_said_once_and_stops_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    seen.error = errors.DatabaseUnavailable("away")
    presence = Presence(seen, Pulse(), Tally())
    for _ in range(3):
        presence.renew()
        clock.now += BEAT_S
    presence.leave()
    assert (len(caplog.records), seen.left) == (1, False)
