"""The read side of the history: the reports of one device, one by one or by spans of time. No rich, no writing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from rpi_health.database_errors import translated
from rpi_health.epoch import EPOCH, span_start
from rpi_health.metric import HOUR_S, Bucket, Metric, Range, Reading
from rpi_health.models import DeviceHistory, DeviceHistoryHourly

_HISTORY: sa.Table = DeviceHistory.__table__  # type: ignore[assignment]
_HOURLY: sa.Table = DeviceHistoryHourly.__table__


def readings(
    engine: sa.Engine, device: str, since: datetime, until: datetime, metrics: Sequence[Metric]
) -> list[Reading]:
    """What the reports of a device say, the oldest first.

    Args:
        since, until: of their times; aware. The second is not included.

    Raises:
        DatabaseError: the database cannot be read.
    """
    columns = [_HISTORY.c[metric.column] for metric in metrics]
    query = sa.select(_HISTORY.c.reported_at, *columns).where(*_between(_HISTORY.c.reported_at, device, since, until))
    with translated(engine.url), engine.connect() as connection:
        rows = connection.execute(query.order_by(_HISTORY.c.reported_at, _HISTORY.c.digest))
        return [Reading(at, tuple(values)) for at, *values in rows]


def buckets(
    engine: sa.Engine, device: str, since: datetime, until: datetime, metrics: Sequence[Metric], every_s: int
) -> list[Bucket]:
    """The same by spans of time, reckoned by the database; spans without a report are left out.

    Of reports that were deleted for their age, the figures of their hours are in the spans in which the hours begin,
    where spans are no shorter than an hour. Then it is from and to the full hour, so that an hour is in it as a whole.

    Args:
        every_s: the length of a span in seconds. Spans begin at its multiples since 1970.
    """
    if every_s >= HOUR_S:
        since, until = _whole_hours(since, until)
    parts = [_reports(metrics).where(*_between(_HISTORY.c.reported_at, device, since, until))]
    if every_s >= HOUR_S:
        parts.append(_hours(metrics).where(*_between(_HOURLY.c.hour_start, device, since, until)))
    part = sa.union_all(*parts).subquery()
    start = span_start(part.c.at, every_s).label("start")
    figures = [figure for metric in metrics for figure in _figures(part, metric)]
    query = sa.select(start, sa.func.sum(part.c.reports), *figures)
    with translated(engine.url), engine.connect() as connection:
        rows = connection.execute(query.group_by(start).order_by(start))
        return [Bucket(EPOCH + timedelta(seconds=at), int(count), tuple(_ranges(row))) for at, count, *row in rows]


def hourly_until(engine: sa.Engine, device: str, since: datetime, until: datetime) -> datetime | None:
    """Until when, of that time, nothing is left of some reports but the figures of their hours; None: all are there."""
    hour = _HOURLY.c.hour_start
    last = sa.select(hour).where(*_between(hour, device, since, until)).order_by(hour.desc()).limit(1)
    with translated(engine.url), engine.connect() as connection:
        found = connection.scalar(last)
        return None if found is None else found + timedelta(seconds=HOUR_S)


def _reports(metrics: Sequence[Metric]) -> sa.Select[Any]:
    """Reports one by one, in the form that hours have."""
    columns: list[sa.ColumnElement[Any]] = [_HISTORY.c.reported_at.label("at"), sa.literal_column("1").label("reports")]
    for metric in metrics:
        value = _HISTORY.c[metric.column]
        count = sa.case((value.is_(None), 0), else_=1)
        all_four: Sequence[sa.ColumnElement[Any]] = (value, sa.cast(value, sa.Double()), value, count)
        columns += [figure.label(name) for figure, name in zip(all_four, metric.figures)]
    return sa.select(*columns)


def _hours(metrics: Sequence[Metric]) -> sa.Select[Any]:
    figures = [_HOURLY.c[name] for metric in metrics for name in metric.figures]
    return sa.select(_HOURLY.c.hour_start, _HOURLY.c.reports, *figures)


def _figures(part: sa.FromClause, metric: Metric) -> list[sa.ColumnElement[Any]]:
    least, mean, most, count = (part.c[name] for name in metric.figures)
    total = sa.func.sum(mean * count) / sa.func.nullif(sa.func.sum(count), 0)
    return [sa.func.min(least), total, sa.func.max(most)]


def filled(found: Sequence[Bucket], since: datetime, until: datetime, every_s: int, metrics: int) -> list[Bucket]:
    """The same with a bucket for each span from `since` to `until`, those without a report included."""
    known = {bucket.at: bucket for bucket in found}
    first, last = (int((at - EPOCH).total_seconds()) // every_s for at in (since, until))
    starts = (EPOCH + timedelta(seconds=number * every_s) for number in range(first, last + 1))
    return [known.get(start) or Bucket(start, 0, (None,) * metrics) for start in starts]


def _whole_hours(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    hour = timedelta(seconds=HOUR_S)
    return since - (since - EPOCH) % hour, until + -(until - EPOCH) % hour


def _between(at: Any, device: str, since: datetime, until: datetime) -> list[sa.ColumnElement[bool]]:
    return [at.table.c.raspberry_id == device, at >= since, at < until]


def _ranges(figures: Sequence[Any]) -> list[Range | None]:
    threes = zip(figures[::3], figures[1::3], figures[2::3])
    # A mean comes as a Decimal from some databases.
    # Huge ones may add up to no number.
    return [
        None if mean is None else Range(least, min(max(float(mean), least), most), most) for least, mean, most in threes
    ]
