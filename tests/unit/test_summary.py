"""The line a minute, and the measures behind it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rpi_health import events
from rpi_health.consumer import measures, summary
from rpi_health.consumer.measures import Histogram, Stopwatch
from rpi_health.consumer.pulse import Pulse
from rpi_health.consumer.summary import Summary
from rpi_health.consumer.tally import Tally


class Clock:
    """Stands still unless it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (summary, measures):
            monkeypatch.setattr(module.time, "monotonic", lambda: self.now)  # type: ignore[attr-defined]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def said(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records]


def make(tally: Tally) -> Summary:
    return Summary(tally, Pulse(), events.Log("rpi_health.tests.summary"))


def test_summary_tells_what_was_done_since_the_line_before(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tally = Tally()
    tally.stored = 7  # before it begins
    summary = make(tally)
    for stored in (1207, 1807):
        tally.stored, tally.deliveries = stored, stored + 1
        for _ in range(6):
            clock.now += 10
            summary.say_if_due()
    first, second = said(caplog)
    assert (first["event"], first["stored"], first["per_second"], first["seconds"]) == ("summary", 1200, 20.0, 60)
    assert (second["stored"], second["deliveries"], second["per_second"]) == (600, 600, 10.0)
    assert first["backlog"] is None
    assert "stale" not in first


def test_nothing_is_said_in_a_minute_without_messages(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tally = Tally()
    summary = make(tally)
    tally.retries = tally.sessions = 5  # no messages
    for _ in range(100):
        clock.now += 10
        summary.say_if_due()
    assert said(caplog) == []


def test_minute_in_which_messages_are_held_is_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tally = Tally()
    summary = make(tally)
    tally.held_time.start()
    clock.now += 61
    summary.say_if_due()
    assert [(line["held_s"], line["stored"]) for line in said(caplog)] == [(61, 0)]


def test_stale_reports_are_told_where_they_are_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tally = Tally()
    tally.stale = 0
    summary = make(tally)
    tally.stale = 3
    clock.now += 60
    summary.say_if_due()
    assert [line["stale"] for line in said(caplog)] == [3]


def test_histogram_counts_a_value_on_a_bound_below_it() -> None:
    histogram = Histogram((1, 2, 5))
    for value in (0.5, 1, 1.5, 5, 6, 100):
        histogram.observe(value)
    assert (histogram.counts, histogram.sum) == ([2, 1, 1, 2], 114)


def test_stopwatch_adds_up_what_was_so(clock: Clock) -> None:
    watch = Stopwatch()
    for _ in range(2):
        watch.start()
        clock.now += 2
        watch.start()  # it is so already
        clock.now += 3
        assert watch.is_running
        watch.stop()
        watch.stop()
        clock.now += 100
    assert (watch.total_s, watch.is_running) == (10, False)
    watch.start()
    clock.now += 1
    assert watch.total_s == 11
