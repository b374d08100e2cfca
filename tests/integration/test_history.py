"""The history of a device, as each database tells it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from statistics import fmean

import pytest
import sqlalchemy as sa

from rpi_health import history
from rpi_health.database import create_engine
from rpi_health.metric import METRICS, USUAL, Bucket, Range, Reading
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report
from rpi_health.store import Store

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
TEMP_AND_CPU = [metric for metric in METRICS if metric.name in ("temp", "cpu")]


@pytest.fixture
def engine(migrated_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(migrated_url)
    yield engine
    engine.dispose()


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def report(at: datetime, device: str = "pi", **fields: object) -> Report:
    body = json.dumps({"id": device, "timestamp": at.isoformat(), **fields}).encode()
    return decode(body, Envelope(at + seconds(1), body))


def write(url: str, *reports: Report) -> None:
    engine = create_engine(url, writer=True)
    store = Store(engine)
    assert store.write(reports) == []
    store.close()


def test_readings_are_those_of_the_device_and_the_time_the_oldest_first(migrated_url: str, engine: sa.Engine) -> None:
    at = [NOON + seconds(60 * minute) for minute in range(5)]
    late = [at[3], at[1], at[4], at[0], at[2]]
    write(
        migrated_url, *[report(t, cpu_percent=float(t.minute)) for t in late], report(at[2], "other", cpu_percent=9.0)
    )
    assert history.readings(engine, "pi", at[1], at[3], TEMP_AND_CPU) == [
        Reading(at[1], (None, 1.0)),
        Reading(at[2], (None, 2.0)),
    ]
    assert history.readings(engine, "pi", at[4] + seconds(1e-6), at[4] + seconds(60), TEMP_AND_CPU) == []


def test_each_metric_is_of_its_column(migrated_url: str, engine: sa.Engine) -> None:
    write(
        migrated_url,
        report(NOON, cpu_temp="48°C", cpu_percent=12.5, mem_usage="512 MB", net_bytes_sent=2**62, net_bytes_recv=3),
        report(NOON + seconds(1), mem_usage="45%", gpio_used_count=4, usb_devices_count=5),
    )
    found = history.readings(engine, "pi", NOON, NOON + seconds(60), METRICS)
    assert [reading.values for reading in found] == [
        (48.0, 12.5, 512_000_000, None, 2**62, 3, None, None),
        (None, None, None, 45.0, None, None, 4, 5),
    ]


@pytest.mark.parametrize("every_s", [1, 7, 60, 300, 3600, 86_400])
def test_spans_are_those_that_python_reckons(migrated_url: str, engine: sa.Engine, every_s: int) -> None:
    dice = random.Random(every_s)
    at = sorted(NOON + seconds(round(dice.uniform(-7200, 7200), 6)) for _ in range(200))
    values = [round(dice.uniform(0, 100), 3) for _ in at]
    write(migrated_url, *[report(t, cpu_percent=value) for t, value in zip(at, values)])
    expected: dict[datetime, list[float]] = {}
    for t, value in zip(at, values):
        start = int(t.timestamp()) // every_s * every_s
        expected.setdefault(datetime.fromtimestamp(start, timezone.utc), []).append(value)
    found = history.buckets(engine, "pi", at[0], at[-1] + seconds(1), TEMP_AND_CPU, every_s)
    assert [(bucket.at, bucket.reports) for bucket in found] == [(t, len(each)) for t, each in expected.items()]
    for bucket, each in zip(found, expected.values()):
        assert bucket.values == (None, Range(min(each), pytest.approx(fmean(each)), max(each)))


def test_span_of_counters_is_reckoned_without_loss(migrated_url: str, engine: sa.Engine) -> None:
    sent = [2**53 + 1, 2**53 + 3]
    write(migrated_url, *[report(NOON + seconds(number), net_bytes_sent=each) for number, each in enumerate(sent)])
    (metric,) = [metric for metric in METRICS if metric.name == "sent"]
    (bucket,) = history.buckets(engine, "pi", NOON, NOON + seconds(60), [metric], 60)
    assert bucket.values == (Range(sent[0], pytest.approx(2**53 + 2), sent[1]),)


def test_span_without_a_report_is_left_out_and_can_be_filled_in(migrated_url: str, engine: sa.Engine) -> None:
    write(migrated_url, report(NOON), report(NOON + seconds(180)))
    until = NOON + seconds(239)
    found = history.buckets(engine, "pi", NOON, until, USUAL, 60)
    assert [bucket.at.minute for bucket in found] == [0, 3]
    nothing = (None,) * len(USUAL)
    assert history.filled(found, NOON, until, 60, len(USUAL)) == [
        found[0],
        Bucket(NOON + seconds(60), 0, nothing),
        Bucket(NOON + seconds(120), 0, nothing),
        found[1],
    ]
