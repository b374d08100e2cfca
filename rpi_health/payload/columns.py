"""Which key of a report goes into which columns of the state: the contract's table of keys, as a table.

Walks the documents; how values are read is told by `fields`, what they say in numbers by `quantities`. Keeps the
warnings within their bounds. Knows nothing of ids, times or bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

from rpi_health.payload import fields, quantities
from rpi_health.report import CPU_TEMP_LENGTH, MEM_USAGE_LENGTH, WIFI_STATUS_LENGTH, State
from rpi_health.text import clean

#: What `extra` may hold; the rest of the unknown keys is dropped, with a warning.
MAX_EXTRA_KEYS = 256
MAX_EXTRA_BYTES = 65_536
#: Where the JSON of MariaDB ends, counted from `extra` itself.
MAX_EXTRA_DEPTH = 31
#: What `report_warnings` may hold, in lines and in characters a line.
MAX_WARNINGS = 32
MAX_WARNING_LENGTH = 200

_MAX_KEY_SHOWN = 64
# Re-encoding lengthens a JSON text less than eightfold (1e15 becomes 1000000000000000.0): a text as short as this need
# not be measured to see that its unknown keys fit.
_SURELY_FITS = MAX_EXTRA_BYTES // 8


class _Field(NamedTuple):
    """How the values of a key are read.

    Args:
        column: the position in `State` that they go to.
        bits: of `Report.present`, for that and the columns derived from it.
        kind: reads them.
        bound: the length of the text or the greatest integer.
        derive: makes the values of the derived columns from the text that was read, and a problem or None behind them.
        derived: the positions of these columns.
    """

    column: int
    bits: int
    kind: fields.Kind
    bound: int
    derive: Callable[[str], tuple[Any, ...]] | None
    derived: tuple[int, ...]


def _field(
    names: str, kind: fields.Kind, bound: int = 0, derive: Callable[[str], tuple[Any, ...]] | None = None
) -> _Field:
    column, *derived = (State._fields.index(name) for name in names.split())
    return _Field(column, sum(1 << each for each in (column, *derived)), kind, bound, derive, tuple(derived))


_EXTRA = State._fields.index("extra")
REPORT_WARNINGS = State._fields.index("report_warnings")

_FIELDS = {
    "wifi_status": _field("wifi_status", fields.TEXT, WIFI_STATUS_LENGTH),
    "mem_usage": _field(
        "mem_usage mem_used_bytes mem_percent", fields.TEXT_OR_NUMBER, MEM_USAGE_LENGTH, quantities.memory
    ),
    "cpu_temp": _field("cpu_temp cpu_temp_celsius", fields.TEXT_OR_NUMBER, CPU_TEMP_LENGTH, quantities.temperature),
    "cpu_percent": _field("cpu_percent", fields.NUMBER),
    "gpio_used_count": _field("gpio_used_count", fields.COUNT, fields.MAX_INT32),
    "usb_devices_count": _field("usb_devices_count", fields.COUNT, fields.MAX_INT32),
    "net_bytes_sent": _field("net_bytes_sent", fields.COUNT, fields.MAX_INT64),
    "net_bytes_recv": _field("net_bytes_recv", fields.COUNT, fields.MAX_INT64),
    "led_internal_status": _field("led_internal_status", fields.SWITCH),
    "led_external_status": _field("led_external_status", fields.SWITCH),
    "interval_s": _field("interval_s", fields.POSITIVE),
    "spi_buses": _field("spi_buses", fields.JSON),
    "i2c_buses": _field("i2c_buses", fields.JSON),
    "net_ifaces": _field("net_ifaces", fields.JSON),
}
_field_of = _FIELDS.get
# Read by `payload`, into no column of the state.
_READ_ELSEWHERE = ("id", "timestamp")


def read(
    documents: Sequence[dict[str, Any]], lengths: Sequence[int], warnings: Sequence[list[str]]
) -> tuple[list[Sequence[Any]], int]:
    """Read the states that reports tell, column by column: for hundreds of reports, in half the time.

    Args:
        documents: the reports' JSON objects, as parsed; at least one, and all with the same keys in the same order.
        lengths: of their texts, in characters.
        warnings: a list for each; takes a line for each thing lost or changed.

    Returns:
        For each field of `State` its values, the warnings yet missing; and which of them the reports set, as in
        `Report.present`.
    """
    values: list[Sequence[Any]] = [[None] * len(documents)] * len(State._fields)
    present = 1 << REPORT_WARNINGS
    unknown = []
    for key in documents[0]:
        field = _field_of(key)
        if field is not None:
            present |= field.bits
            values[field.column] = found = _read_key(key, field, [document[key] for document in documents], warnings)
            if field.derive is not None:
                _derive(key, field, field.derive, found, values, warnings)
        elif key not in _READ_ELSEWHERE:
            unknown.append(key)
    if unknown:
        present |= 1 << _EXTRA
        values[_EXTRA] = [
            _read_extra({key: document[key] for key in unknown}, length, lines)
            for document, length, lines in zip(documents, lengths, warnings)
        ]
    return values, present


def _read_key(key: str, field: _Field, sent: list[Any], warnings: Sequence[list[str]]) -> list[Any]:
    if field.kind.are_plain(sent, field.bound):
        return sent
    found = []
    problems: list[str] = []
    for value, lines in zip(sent, warnings):
        found.append(None if value is None else field.kind.read(value, field.bound, problems))
        if problems:
            warn(key, problems, lines)
    return found


def _derive(
    key: str,
    field: _Field,
    derive: Callable[[str], tuple[Any, ...]],
    found: list[Any],
    values: list[Sequence[Any]],
    warnings: Sequence[list[str]],
) -> None:
    """Fill the columns that are derived from a text."""
    nothing = (None,) * (len(field.derived) + 1)
    *derived, problems = zip(*[nothing if text is None else derive(text) for text in found])
    for column, each in zip(field.derived, derived):
        values[column] = each
    for problem, lines in zip(problems, warnings):
        if problem is not None:
            warn(key, [problem], lines)


def _read_extra(unknown: dict[str, Any], length: int, warnings: list[str]) -> dict[str, Any]:
    """Keep the unknown keys, in their order, while they fit."""
    extra: dict[str, Any] = {}
    size = 2
    measured = length > _SURELY_FITS
    for position, (key, value) in enumerate(unknown.items()):
        problems: list[str] = []
        if fields.is_deeper(value, MAX_EXTRA_DEPTH - 1):
            warn(key, [f"dropped: nested deeper than {MAX_EXTRA_DEPTH - 1}"], warnings)
            continue
        kept = fields.JSON.read({key: value}, 0, problems)
        if measured and kept:
            size += len(json.dumps(kept, ensure_ascii=False).encode())
        if len(extra) == MAX_EXTRA_KEYS or size > MAX_EXTRA_BYTES:
            dropped = len(unknown) - position
            warnings.append(
                f"extra: {dropped} unknown keys dropped, beyond {MAX_EXTRA_KEYS} keys or {MAX_EXTRA_BYTES} bytes"
            )
            break
        extra.update(kept)
        if problems:
            warn(key, problems, warnings)
    return extra


def warn(key: str, problems: list[str], warnings: list[str]) -> None:
    """Move the problems of a key to the warnings."""
    shown = clean(key, _MAX_KEY_SHOWN)
    warnings.extend([clean(f"{shown}: {problem}", MAX_WARNING_LENGTH) for problem in problems])
    problems.clear()


def bounded(warnings: list[str]) -> list[str]:
    """Keep as many warnings as a report may carry; the last one tells if there were more."""
    if len(warnings) <= MAX_WARNINGS:
        return warnings
    return [*warnings[: MAX_WARNINGS - 1], "report_warnings: there were more"]
