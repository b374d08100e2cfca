"""When a report was made, and when the fleet heard from its device."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.unit.payload_helpers import EARLIER, RECEIVED_AT, body_of, read

UTC = timezone.utc
IN_2024 = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def reported_at(value: Any, **envelope: Any) -> datetime:
    return read(body_of(timestamp=value), **envelope).reported_at


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-02T03:04:05Z", IN_2024),
        ("2024-01-02t03:04:05z", IN_2024),
        ("2024-01-02 03:04:05Z", IN_2024),
        (" 2024-01-02T03:04:05Z ", IN_2024),
        ("2024-01-02T03:04:05+00:00", IN_2024),
        ("2024-01-02T03:04:05-00:00", IN_2024),
        ("2024-01-02T00:04:05-03:00", IN_2024),
        ("2024-01-02T08:34:05+05:30", IN_2024),
        ("2024-01-02T08:34:05+0530", IN_2024),
        ("2024-01-02T03:04:05.5Z", IN_2024.replace(microsecond=500_000)),
        ("2024-01-02T03:04:05.123456Z", IN_2024.replace(microsecond=123_456)),
        ("2024-01-02T03:04:05.123456999Z", IN_2024.replace(microsecond=123_456)),
        ("2024-01-02T03:04:05,25Z", IN_2024.replace(microsecond=250_000)),
        ("2023-12-31T23:59:60Z", datetime(2023, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2020-01-01T00:00:00Z", datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_rfc_3339_is_read(text: str, instant: datetime) -> None:
    assert reported_at(text) == instant


@pytest.mark.parametrize("as_text", [False, True], ids=["number", "text"])
@pytest.mark.parametrize(
    "number", [1704164645, 1704164645000, 1704164645000000, 1704164645000000000, 1704164645.0, 1704164645000.0]
)
def test_unit_of_an_epoch_is_told_by_its_magnitude(number: float, as_text: bool) -> None:
    assert reported_at(str(number) if as_text else number) == IN_2024


@pytest.mark.parametrize("number", [1704164645.25, 1704164645250, "1704164645.25", 1704164645250000])
def test_fraction_of_a_second_is_kept(number: Any) -> None:
    assert reported_at(number) == IN_2024 + timedelta(milliseconds=250)


UNREADABLE = [
    "2024-01-02T03:04:05",
    "2024-01-02",
    "2024-02-30T03:04:05Z",
    "2024-01-02T24:00:00Z",
    "2024-01-02T03:60:05Z",
    "2024-01-02T03:04:05+24:00",
    "2024-01-02T03:04:05+00:60",
    "0000-01-02T03:04:05Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "٢٠٢٤-01-02T03:04:05Z",
    "yesterday",
    "",
    "nan",
    "9" * 40,
    "9" * 5000,
    "1" * 300 + ".5",
    True,
    float("nan"),
    float("inf"),
    1e300,
    2**64,
    10**4000,
    [1704164645],
    {"s": 1704164645},
]
IMPLAUSIBLE = [
    "1970-01-01T00:00:12Z",
    "2019-12-31T23:59:59.999999Z",
    (RECEIVED_AT + timedelta(minutes=5, microseconds=1)).isoformat(),
    "2099-01-01T00:00:00Z",
    0,
    12.5,
    -1704164645,
    4_000_000_000,
    "12",
]


@pytest.mark.parametrize("value", [*UNREADABLE, *IMPLAUSIBLE], ids=lambda value: str(value)[:40])
def test_timestamp_of_no_use_costs_only_itself(value: Any) -> None:
    report = read(body_of(timestamp=value, wifi_status="up"))

    assert report.reported_at == RECEIVED_AT
    assert report.state.wifi_status == "up"
    assert report.state.report_warnings is not None
    assert len(report.state.report_warnings) == 1
    assert report.state.report_warnings[0].startswith("timestamp: ")


def test_missing_offset_is_named() -> None:
    report = read(body_of(timestamp="2024-01-02T03:04:05"))

    assert report.state.report_warnings == ["timestamp: '2024-01-02T03:04:05' has no UTC offset"]


def test_clock_may_be_five_minutes_ahead() -> None:
    ahead = RECEIVED_AT + timedelta(minutes=5)

    assert reported_at(ahead.isoformat()) == ahead


@pytest.mark.parametrize("envelope", [{"headers": {"timestamp_in_ms": 0}}, {"headers": {}}, {"timestamp": 0}])
def test_null_timestamp_is_none_without_a_warning(envelope: dict[str, Any]) -> None:
    report = read(body_of(timestamp=None), **envelope)

    assert (report.reported_at, report.state.report_warnings) == (RECEIVED_AT, None)


MS = 1704164645250
HEADERS = {"timestamp_in_ms": MS}
FROM_HEADER = IN_2024 + timedelta(milliseconds=250)


def test_body_is_believed_before_the_header() -> None:
    assert reported_at(EARLIER.isoformat(), headers=HEADERS, timestamp=1704164645) == EARLIER


def test_header_is_believed_before_the_property() -> None:
    assert read(body_of(), headers=HEADERS, timestamp=1700000000).reported_at == FROM_HEADER


@pytest.mark.parametrize("value", ["2024-01-02T03:04:05", "1970-01-01T00:00:00Z", True])
def test_header_stands_in_for_a_timestamp_of_no_use(value: Any) -> None:
    assert reported_at(value, headers=HEADERS) == FROM_HEADER


def test_header_may_be_text() -> None:
    assert read(body_of(), headers={"timestamp_in_ms": str(MS)}).reported_at == FROM_HEADER


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        b"1704164645250",
        "soon",
        "²",
        "",
        "9" * 5000,
        1.5,
        {},
        [MS],
        0,
        -1,
        10**30,
        10**700,
        IN_2024,
        object(),
    ],
    ids=lambda value: str(value)[:20],
)
def test_header_of_no_use_passes_in_silence(value: Any) -> None:
    report = read(body_of(), headers={"timestamp_in_ms": value, "other": value}, timestamp=1704164645)

    assert (report.reported_at, report.state.report_warnings) == (IN_2024, None)


@pytest.mark.parametrize("number", [1704164645, 1704164645000])
def test_property_is_read_by_its_magnitude(number: int) -> None:
    assert read(body_of(), timestamp=number).reported_at == IN_2024


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**64 - 1, 253402300800000, 10**700, True, None, "1704164645"])
def test_property_of_no_use_passes_in_silence(number: Any) -> None:
    report = read(body_of(), timestamp=number)

    assert (report.reported_at, report.state.report_warnings) == (RECEIVED_AT, None)


def test_fresh_report_is_heard_when_it_is_received() -> None:
    assert read(body_of(timestamp=EARLIER.isoformat())).heard_at == RECEIVED_AT


def test_backlog_does_not_make_dead_devices_look_alive() -> None:
    assert read(body_of(timestamp=EARLIER.isoformat()), waiting=True).heard_at == EARLIER


def test_clock_that_is_ahead_is_not_heard_of_in_the_future() -> None:
    ahead = RECEIVED_AT + timedelta(minutes=1)

    assert read(body_of(timestamp=ahead.isoformat()), waiting=True).heard_at == RECEIVED_AT


def test_undated_report_is_heard_when_it_is_received() -> None:
    assert read(body_of(), waiting=True).heard_at == RECEIVED_AT


def test_all_instants_are_utc() -> None:
    report = read(body_of(timestamp="2024-01-02T00:04:05-03:00"), waiting=True)

    assert {report.reported_at.utcoffset(), report.received_at.utcoffset(), report.heard_at.utcoffset()} == {
        timedelta(0)
    }
