"""The read side of the history: the reports of one device, one by one or by spans of time. No rich, no writing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa

from rpi_health.database_errors import translated
from rpi_health.epoch import EpochSeconds
from rpi_health.metric import Bucket, Metric, Range, Reading
from rpi_health.models import DeviceHistory

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_HISTORY: sa.Table = DeviceHistory.__table__  # type: ignore[assignment]


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
    query = sa.select(_HISTORY.c.reported_at, *columns).where(*_between(device, since, until))
    with translated(engine.url), engine.connect() as connection:
        rows = connection.execute(query.order_by(_HISTORY.c.reported_at, _HISTORY.c.digest))
        return [Reading(at, tuple(values)) for at, *values in rows]


def buckets(
    engine: sa.Engine, device: str, since: datetime, until: datetime, metrics: Sequence[Metric], every_s: int
) -> list[Bucket]:
    """The same by spans of time, reckoned by the database; spans without a report are left out.

    Args:
        every_s: the length of a span in seconds. Spans begin at its multiples since 1970.
    """
    second = EpochSeconds(_HISTORY.c.reported_at)
    start = (second - second % sa.literal_column(str(every_s))).label("start")
    figures = [
        figure(_HISTORY.c[metric.column]) for metric in metrics for figure in (sa.func.min, sa.func.avg, sa.func.max)
    ]
    query = sa.select(start, sa.func.count(), *figures).where(*_between(device, since, until))
    with translated(engine.url), engine.connect() as connection:
        rows = connection.execute(query.group_by(start).order_by(start))
        return [Bucket(_EPOCH + timedelta(seconds=at), count, tuple(_ranges(row))) for at, count, *row in rows]


def filled(found: Sequence[Bucket], since: datetime, until: datetime, every_s: int, metrics: int) -> list[Bucket]:
    """The same with a bucket for each span from `since` to `until`, those without a report included."""
    known = {bucket.at: bucket for bucket in found}
    first, last = (int((at - _EPOCH).total_seconds()) // every_s for at in (since, until))
    starts = (_EPOCH + timedelta(seconds=number * every_s) for number in range(first, last + 1))
    return [known.get(start) or Bucket(start, 0, (None,) * metrics) for start in starts]


def _between(device: str, since: datetime, until: datetime) -> list[sa.ColumnElement[bool]]:
    reported_at = _HISTORY.c.reported_at
    return [_HISTORY.c.raspberry_id == device, reported_at >= since, reported_at < until]


def _ranges(figures: Sequence[Any]) -> list[Range | None]:
    threes = zip(figures[::3], figures[1::3], figures[2::3])
    # A mean comes as a Decimal from some databases.
    return [None if mean is None else Range(least, float(mean), most) for least, mean, most in threes]
