"""Which key of a report goes into which columns of the state: the contract's table of keys, as a table.

Walks the document; how a value is read is told by `fields`, what it says in numbers by `quantities`. Keeps the
warnings within their bounds. Knows nothing of ids, times or bytes.
"""

from __future__ import annotations

import json
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
    """How the value of a key is read.

    Args:
        column: the position in `State` that it goes to.
        bits: of `Report.present`, for that and the columns derived from it.
        reader: makes the column's value.
        bound: the length of the text or the greatest integer, for the reader.
        derive: fills the derived columns from the value just read, if there are any.
    """

    column: int
    bits: int
    reader: fields.Reader
    bound: int
    derive: Callable[[list[Any], list[str]], None] | None


def _field(
    names: str,
    reader: fields.Reader,
    bound: int = 0,
    derive: Callable[[list[Any], list[str]], None] | None = None,
) -> _Field:
    columns = [State._fields.index(name) for name in names.split()]
    return _Field(columns[0], sum(1 << column for column in columns), reader, bound, derive)


_MEM_USAGE = State._fields.index("mem_usage")
_MEM_USED_BYTES = State._fields.index("mem_used_bytes")
_MEM_PERCENT = State._fields.index("mem_percent")
_CPU_TEMP = State._fields.index("cpu_temp")
_CPU_TEMP_CELSIUS = State._fields.index("cpu_temp_celsius")
_EXTRA = State._fields.index("extra")
REPORT_WARNINGS = State._fields.index("report_warnings")


def _derive_memory(values: list[Any], problems: list[str]) -> None:
    if values[_MEM_USAGE] is not None:
        values[_MEM_USED_BYTES], values[_MEM_PERCENT], problem = quantities.memory(values[_MEM_USAGE])
        if problem is not None:
            problems.append(problem)


def _derive_celsius(values: list[Any], problems: list[str]) -> None:
    if values[_CPU_TEMP] is not None:
        values[_CPU_TEMP_CELSIUS], problem = quantities.temperature(values[_CPU_TEMP])
        if problem is not None:
            problems.append(problem)


_FIELDS = {
    "wifi_status": _field("wifi_status", fields.text, WIFI_STATUS_LENGTH),
    "mem_usage": _field(
        "mem_usage mem_used_bytes mem_percent", fields.text_or_number, MEM_USAGE_LENGTH, _derive_memory
    ),
    "cpu_temp": _field("cpu_temp cpu_temp_celsius", fields.text_or_number, CPU_TEMP_LENGTH, _derive_celsius),
    "cpu_percent": _field("cpu_percent", fields.number),
    "gpio_used_count": _field("gpio_used_count", fields.count, fields.MAX_INT32),
    "usb_devices_count": _field("usb_devices_count", fields.count, fields.MAX_INT32),
    "net_bytes_sent": _field("net_bytes_sent", fields.count, fields.MAX_INT64),
    "net_bytes_recv": _field("net_bytes_recv", fields.count, fields.MAX_INT64),
    "led_internal_status": _field("led_internal_status", fields.switch),
    "led_external_status": _field("led_external_status", fields.switch),
    "interval_s": _field("interval_s", fields.positive),
    "spi_buses": _field("spi_buses", fields.json_value),
    "i2c_buses": _field("i2c_buses", fields.json_value),
    "net_ifaces": _field("net_ifaces", fields.json_value),
}
_field_of = _FIELDS.get
# Read by `payload`, into no column of the state.
_READ_ELSEWHERE = ("id", "timestamp")


def read(document: dict[str, Any], length: int, warnings: list[str]) -> tuple[list[Any], int]:
    """Read the state that a report tells.

    Args:
        document: the report's JSON object, as parsed.
        length: of its text, in characters.
        warnings: takes a line for each thing lost or changed.

    Returns:
        The values of `State`, the warnings yet missing; and which of them the report sets, as in `Report.present`.
    """
    values: list[Any] = [None] * len(State._fields)
    present = 1 << REPORT_WARNINGS
    problems: list[str] = []
    unknown = {}
    for key, value in document.items():
        field = _field_of(key)
        if field is None:
            if key not in _READ_ELSEWHERE:
                unknown[key] = value
            continue
        column, bits, reader, bound, derive = field
        present |= bits
        if value is None:
            continue
        values[column] = reader(value, bound, problems)
        if derive is not None:
            derive(values, problems)
        if problems:
            warn(key, problems, warnings)
    if unknown:
        present |= 1 << _EXTRA
        values[_EXTRA] = _read_extra(unknown, length, warnings)
    return values, present


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
        kept = fields.json_value({key: value}, 0, problems)
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
