"""The columns of the rows that reports become, as every database takes them: a sequence of values for each.

By columns rather than by rows: most of what a row costs is asking of each value again what it is. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pydantic_core

from rpi_health.report import Report, State

Column = Sequence[Any]

_JSON_FIELDS = tuple(
    State._fields.index(n) for n in ("spi_buses", "i2c_buses", "net_ifaces", "extra", "report_warnings")
)
_LED_FIELDS = tuple(State._fields.index(n) for n in ("led_internal_status", "led_external_status"))


def text_of(instant: datetime) -> str:
    """`2024-05-06 07:08:09.123456`, in UTC: for MySQL's DATETIME(6), and as SQLAlchemy reads it back on SQLite."""
    at = instant
    parts = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
    # In half the time that `isoformat`, which asks the time zone, or an f-string need.
    return "%04d-%02d-%02d %02d:%02d:%02d.%06d" % parts  # noqa: UP031


def state_columns(reports: Sequence[Report]) -> list[Column]:
    """The columns for `State._fields`: JSON as text; LEDs that were not sent start as off."""
    columns: list[Column] = list(zip(*[report.state for report in reports])) or [()] * len(State._fields)
    for field in _JSON_FIELDS:
        columns[field] = [value if value is None else _json_of(value) for value in columns[field]]
    for field in _LED_FIELDS:
        if None in columns[field]:
            columns[field] = [_led(report, field) for report in reports]
    return columns


def _json_of(value: Any) -> str:
    return pydantic_core.to_json(value).decode()


def _led(report: Report, field: int) -> Any:
    is_off = report.state[field] is None and not report.present >> field & 1
    return False if is_off else report.state[field]
