"""The state of a device, by table."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.hearing import Hearing, Rules, hearing, rank, state

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
RULES = Rules(interval_s=60.0, late_after=2.0, offline_after=5.0)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("heard", "interval_s", "expected"),
    [
        (at(0), None, "online"),
        (at(1), None, "online"),  # by a clock that is ahead
        (at(-1.9), None, "online"),
        (at(-2), None, "late"),
        (at(-4.9), None, "late"),
        (at(-5), None, "offline"),
        (at(-6 * 24 * 60), None, "offline"),
        (None, None, "offline"),
        (at(-5), 300.0, "online"),
        (at(-10), 300.0, "late"),
        (at(-25), 300.0, "offline"),
        (at(-0.1), 1.5, "late"),
        (at(-1), 1e300, "online"),
    ],
)
def test_device_is_late_after_two_intervals_of_silence_and_offline_after_five(
    heard: datetime | None, interval_s: float | None, expected: str
) -> None:
    listened = hearing([(at(-9999), at(0))], None)
    assert state(heard, interval_s, listened, RULES) == expected


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (at(-61), "online"),  # a minute of silence before nobody listened for an hour
        (at(-62), "late"),
        (at(-65), "offline"),
        (at(-30), "online"),  # as a backlog told, which was drained later
        (at(0), "online"),
    ],
)
def test_nobody_falls_silent_while_nobody_listens(heard: datetime, expected: str) -> None:
    heard_again = hearing([(at(-9999), at(-60)), (at(0), at(0))], None)
    assert state(heard, None, heard_again, RULES) == expected
    long_ago = hearing([(at(-9999), at(-60))], at(0))
    assert state(heard, None, long_ago, RULES) == expected


def test_each_of_several_gaps_counts() -> None:
    flapping = hearing([(at(minute), at(minute + 0.5)) for minute in range(-30, 0)], None)
    assert [state(at(minute), None, flapping, RULES) for minute in (-3, -4, -9, -10)] == [
        *("online", "late", "late", "offline"),
    ]


def test_spans_of_several_consumers_are_one() -> None:
    spans = [(at(3), at(9)), (at(0), at(4)), (at(5), at(6)), (at(12), at(13))]
    noon = int(NOON.timestamp())
    assert hearing(spans, at(99)) == Hearing(noon + 13 * 60, ((noon + 9 * 60, noon + 12 * 60),))


def test_without_any_span_the_last_report_counts() -> None:
    assert hearing([], at(5)) == Hearing(int(at(5).timestamp()))
    assert hearing([], None) == Hearing(0)


seconds = st.integers(0, 10_000)


@given(seconds, seconds, st.lists(st.tuples(seconds, seconds).map(sorted), max_size=5), st.floats(0.1, 1e6))
def test_more_silence_is_never_less_trouble(one: int, other: int, gaps: list[list[int]], interval_s: float) -> None:
    spans = [(at(0), at(0)), *[(at(since), at(until)) for since, until in gaps]]
    known = hearing(spans, None)
    earlier, later = (int(at(minutes).timestamp()) for minutes in sorted((one, other)))
    assert rank(earlier, interval_s, known, RULES) >= rank(later, interval_s, known, RULES)
