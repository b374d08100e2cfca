"""A thread that turns no more is told of; one that waits for a reason is not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rpi_health.consumer import vitals
from rpi_health.consumer.vitals import Vitals


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(vitals, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_thread_that_turns_is_live_for_ever(clock: Clock) -> None:
    watched = Vitals()
    for _ in range(100):
        clock.now += 60
        watched.turn()
        assert list(watched.not_live()) == []


def test_thread_that_hangs_is_told_of_with_the_cure(clock: Clock) -> None:
    watched = Vitals()
    watched.turn()
    clock.now += 301
    (reason,) = watched.not_live()
    assert "hangs for 301 s: restart" in reason
    watched.turn()
    assert list(watched.not_live()) == []


def test_thread_that_waits_before_its_next_try_is_live(clock: Clock) -> None:
    watched = Vitals()
    watched.turn(pause_s=3600)
    clock.now += 3800
    assert list(watched.not_live()) == []
    clock.now += 200
    assert list(watched.not_live()) != []
