"""What is left of old reports: for each hour of a device, the least, the mean and the greatest value of each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from rpi_health.epoch import EPOCH, span_start
from rpi_health.metric import HOUR_S, METRICS, Metric
from rpi_health.models import DeviceHistoryHourly
from rpi_health.store.upsert import HISTORY

HOURLY: sa.Table = DeviceHistoryHourly.__table__
#: How long these figures are kept.
KEPT = timedelta(days=400)
_Hour = Mapping[str, Any]


def add(connection: sa.Connection, device: str, reports: Sequence[sa.ColumnElement[bool]]) -> None:
    """Add reports of a device to the figures of their hours.

    Args:
        reports: which rows of the history; all of one device. Until the transaction ends, nobody else may add or delete
            reports of that device: what is added here must be what the caller then deletes.
    """
    new: dict[datetime, _Hour] = {hour["hour_start"]: hour for hour in _by_hour(connection, device, reports)}
    if not new:
        return
    of_these = [HOURLY.c.raspberry_id == device, HOURLY.c.hour_start.between(min(new), max(new))]
    for row in connection.execute(sa.select(HOURLY).where(*of_these)).mappings().all():
        start = row["hour_start"]
        if start in new:
            new[start] = merged(dict(row), new[start])
            connection.execute(sa.delete(HOURLY).where(*of_these, HOURLY.c.hour_start == start))
    connection.execute(sa.insert(HOURLY), [dict(hour) for hour in new.values()])


def merged(one: _Hour, other: _Hour) -> _Hour:
    """The figures of the reports of both."""
    hour = {**one, "reports": one["reports"] + other["reports"]}
    for metric in METRICS:
        least, mean, most, count = metric.figures
        halves = [half for half in (one, other) if half[count]]
        hour[count] = sum(half[count] for half in halves)
        hour[least] = min((half[least] for half in halves), default=None)
        hour[most] = max((half[most] for half in halves), default=None)
        hour[mean] = sum(half[mean] * half[count] for half in halves) / hour[count] if halves else None
    return hour


def _by_hour(connection: sa.Connection, device: str, reports: Sequence[sa.ColumnElement[bool]]) -> list[dict[str, Any]]:
    start = span_start(HISTORY.c.reported_at, HOUR_S).label("start")
    query = sa.select(start, sa.func.count().label("reports"), *_figures()).where(*reports).group_by(start)
    hours = []
    for row in connection.execute(query).mappings():
        hour: dict[str, Any] = {"raspberry_id": device, **row}
        for metric in METRICS:
            _keep_in_range(hour, metric)
        hour["hour_start"] = EPOCH + timedelta(seconds=hour.pop("start"))
        hours.append(hour)
    return hours


def _keep_in_range(hour: dict[str, Any], metric: Metric) -> None:
    """A mean is no less than the least and no more than the greatest value: huge ones may add up to no number."""
    least, mean, most, _ = metric.figures
    if hour[mean] is not None:
        hour[mean] = min(max(hour[mean], hour[least]), hour[most])


def _figures() -> list[sa.ColumnElement[Any]]:
    figures: list[sa.ColumnElement[Any]] = []
    for metric in METRICS:
        column = HISTORY.c[metric.column]
        mean: sa.ColumnElement[Any] = sa.cast(sa.func.avg(column), sa.Double())
        all_four = (sa.func.min(column), mean, sa.func.max(column), sa.func.count(column))
        figures += [figure.label(name) for figure, name in zip(all_four, metric.figures)]
    return figures
