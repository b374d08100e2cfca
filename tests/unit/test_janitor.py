"""What deletes old reports stands in nobody's way: not at rest, not in trouble, not when it is to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator

import pytest

from rpi_health import errors
from rpi_health.consumer import janitor
from rpi_health.consumer.janitor import Janitor


class Upkeep:
    """Rounds as a test has them: how many reports each step deletes, or the error that it ends with."""

    def __init__(self, *rounds: list[int | Exception]) -> None:
        self._rounds = list(rounds)
        self.stopping = threading.Event()
        self.began = 0
        self.closed = False
        self.left = 0

    def round(self) -> Generator[int, None, None]:
        self.began += 1
        steps = self._rounds.pop(0)
        if not self._rounds:
            self.stopping.set()
        try:
            for step in steps:
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            self.left += 1

    def close(self) -> None:
        self.closed = True


def run(upkeep: Upkeep) -> None:
    thread = threading.Thread(target=Janitor(upkeep, upkeep.stopping).run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert upkeep.closed
    assert upkeep.left == upkeep.began


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(janitor, "_LOOK_S", 0)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "event", "") for record in caplog.records]


def test_round_that_deletes_nothing_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run(Upkeep([], [0, 0], [2, 3], []))
    assert [(r.event, r.reports) for r in caplog.records] == [("pruned", 5)]  # type: ignore[attr-defined]


def test_trouble_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    away = errors.DatabaseUnavailable("away")
    upkeep = Upkeep([away], [1, away], [errors.DatabaseUnavailable("full")], [7], [away], [])
    caplog.set_level(logging.INFO)
    run(upkeep)
    assert upkeep.began == 6
    assert events(caplog) == ["prune_failed", "pruned", "prune_failed", "pruned", "prune_failed"]


def test_defect_ends_neither_the_thread_nor_the_consumer(caplog: pytest.LogCaptureFixture) -> None:
    upkeep = Upkeep([ValueError("defect")], [1], [])
    run(upkeep)
    assert upkeep.began == 3
    assert events(caplog) == ["prune_defect"]


def test_round_is_left_when_it_is_time_to_stop() -> None:
    upkeep = Upkeep([1] * 1000)  # the last: it is to stop once it has begun
    began_at = time.monotonic()
    run(upkeep)
    assert (upkeep.began, upkeep.left) == (1, 1)
    assert time.monotonic() - began_at < 5


def test_it_rests_for_longer_than_it_works() -> None:
    took_s = 0.05

    class Working(Upkeep):
        def round(self) -> Generator[int, None, None]:
            self.began += 1
            for _ in range(3):
                time.sleep(took_s)  # the work
                yield 1
            self.left += 1
            self.stopping.set()

    began_at = time.monotonic()
    run(Working())
    assert time.monotonic() - began_at >= 3 * took_s * (1 + janitor._REST)
