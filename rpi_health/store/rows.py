"""Rows from reports, as every database takes them: JSON columns as JSON text, instants as text, in UTC.

Text rather than objects, because drivers need several times as long for those. Knows the columns, and no SQL.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pydantic_core

from rpi_health.report import Report, State
from rpi_health.store import upsert
from rpi_health.store.fold import Folded

Row = tuple[Any, ...]
#: Writes an instant as a database reads it.
Text = Callable[[datetime], str]

_JSON_FIELDS = tuple(
    State._fields.index(n) for n in ("spi_buses", "i2c_buses", "net_ifaces", "extra", "report_warnings")
)
_LED_FIELDS = tuple(State._fields.index(n) for n in ("led_internal_status", "led_external_status"))
_metrics: Callable[[State], Row] = operator.itemgetter(*(State._fields.index(n) for n in upsert.HISTORY_STATE))


def with_offset(instant: datetime) -> str:
    """`2024-05-06 07:08:09.123456+00`: for a column that knows time zones."""
    return without_offset(instant) + "+00"


def without_offset(instant: datetime) -> str:
    """`2024-05-06 07:08:09.123456`: for MySQL's DATETIME(6), and as SQLAlchemy reads it back on SQLite."""
    at = instant
    parts = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
    # In half the time that `isoformat`, which asks the time zone, or an f-string need.
    return "%04d-%02d-%02d %02d:%02d:%02d.%06d" % parts  # noqa: UP031


def status_row(folded: Folded, text: Text) -> Row:
    """The row for `upsert.STATUS_COLUMNS`."""
    report, first_heard_at, last_heard_at = folded
    reported = text(report.reported_at)
    # Most often the same instant: it is written once.
    first = reported if first_heard_at is report.reported_at else text(first_heard_at)
    last = first if last_heard_at is first_heard_at else text(last_heard_at)
    return (report.raspberry_id, first, last, reported, report.present, *_state(report))


def history_row(report: Report, text: Text) -> Row:
    """The row for `upsert.HISTORY_COLUMNS`."""
    heads = (report.raspberry_id, text(report.reported_at), report.digest, text(report.received_at))
    return heads + _metrics(report.state)


def without_json(state: State) -> list[Any]:
    """The values for `State._fields` that the history has a column for, and None for the others."""
    values: list[Any] = list(state)
    for field in _JSON_FIELDS:
        values[field] = None
    return values


def _state(report: Report) -> list[Any]:
    """The values for `State._fields`. LEDs that were not sent start as off."""
    state: list[Any] = list(report.state)
    for field in _JSON_FIELDS:
        if state[field] is not None:
            state[field] = pydantic_core.to_json(state[field]).decode()
    for field in _LED_FIELDS:
        if state[field] is None and not report.present >> field & 1:
            state[field] = False
    return state
