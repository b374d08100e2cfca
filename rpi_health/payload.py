"""The edge where bytes become a report, or a rejection that says why not: section "the message" of the contract, in code.

Pure: no clock, socket, database or environment, so the same delivery always gives the same answer. A field that cannot be
read is lost, with a warning, rather than the report. The table `_FIELDS` says which key is read how, and into which columns.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from typing import Any, Callable, NamedTuple

from rpi_health import fields, instants, jsontext, quantities
from rpi_health.errors import Rejection
from rpi_health.report import (
    CPU_TEMP_LENGTH,
    DEVICE_ID_LENGTH,
    MEM_USAGE_LENGTH,
    WIFI_STATUS_LENGTH,
    Envelope,
    Report,
    State,
)
from rpi_health.text import BLANKS, clean, has_hidden, is_hidden

#: What `extra` may hold; the rest of the unknown keys is dropped, with a warning.
MAX_EXTRA_KEYS = 256
MAX_EXTRA_BYTES = 65_536
#: What `report_warnings` may hold, in lines and in characters a line.
MAX_WARNINGS = 32
MAX_WARNING_LENGTH = 200
#: What a rejection may say, in characters.
MAX_DETAIL_LENGTH = 300
#: Pis have no clock battery: before and after these, the clock was wrong.
EARLIEST_PLAUSIBLE = datetime(2020, 1, 1, tzinfo=timezone.utc)
PLAUSIBLE_CLOCK_SKEW = timedelta(minutes=5)

_MAX_KEY_SHOWN = 64
# Re-encoding lengthens a JSON text less than eightfold (1e15 becomes 1000000000000000.0): such a short one need not be
# measured to see that its unknown keys fit.
_SURELY_FITS = MAX_EXTRA_BYTES // 8
# Four characters at most are one after NFC; normalizing takes quadratic time, so what is longer yet is not normalized.
_MAX_UNNORMALIZED_LENGTH = 4 * DEVICE_ID_LENGTH


class _Field(NamedTuple):
    """How the value of a key is read.

    Args:
        index: the position in `State` that it goes to.
        bits: of `Report.present`, for that and the columns derived from it.
        read: makes the column's value.
        bound: the length of the text or the greatest integer, for `read`.
        derive: fills the derived columns from the value just read, if there are any.
    """

    index: int
    bits: int
    read: fields.Reader
    bound: int
    derive: Callable[[list[Any], list[str]], None] | None


def _field(
    columns: str,
    read: fields.Reader,
    bound: int = 0,
    derive: Callable[[list[Any], list[str]], None] | None = None,
) -> _Field:
    indexes = [State._fields.index(column) for column in columns.split()]
    return _Field(indexes[0], sum(1 << index for index in indexes), read, bound, derive)


_MEM_USAGE = State._fields.index("mem_usage")
_MEM_USED_BYTES = State._fields.index("mem_used_bytes")
_MEM_PERCENT = State._fields.index("mem_percent")
_CPU_TEMP = State._fields.index("cpu_temp")
_CPU_TEMP_CELSIUS = State._fields.index("cpu_temp_celsius")
_EXTRA = State._fields.index("extra")
_REPORT_WARNINGS = State._fields.index("report_warnings")


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
# Read apart, into no column of the state.
_ID_KEYS = ("id", "timestamp")


def decode(body: bytes, envelope: Envelope) -> Report:
    """Read a delivery as a health check.

    Args:
        body: the message's bytes, as received.
        envelope: what else is known about the delivery.

    Returns:
        The report, with a warning in its state for each field that was lost or changed.

    Raises:
        Rejection: the message is no health check; the reason is one of `errors.REASONS`.
    """
    document, length, replaced = jsontext.load(body, envelope.content_encoding)
    raspberry_id = _read_id(document, replaced)
    values: list[Any] = [None] * len(State._fields)
    warnings: list[str] = []
    present = _read_state(document, length, values, warnings)
    reported_at = _read_time(document, envelope, warnings)
    if replaced:
        _warn_of_replacements(document, warnings)
    values[_REPORT_WARNINGS] = _bounded(warnings) if warnings else None
    received_at = envelope.received_at
    if reported_at is None:
        digest, receipt = _identify_undated(body, envelope)
        return Report(
            raspberry_id, received_at, received_at, received_at, digest, receipt, State(*values), present, document
        )
    heard_at = min(reported_at, received_at) if envelope.waiting else received_at
    digest = blake2b(body, digest_size=16).digest()
    return Report(raspberry_id, reported_at, received_at, heard_at, digest, None, State(*values), present, document)


def _read_id(document: dict[str, Any], replaced: bool) -> str:
    value = document.get("id")
    if type(value) is int:
        return _decimal_id(value)
    if value is None:
        raise Rejection("missing_device_id", "id: null" if "id" in document else "id: missing")
    if type(value) is not str:
        raise Rejection("bad_device_id", f"id: {jsontext.describe(value)} where text is expected")
    device_id = value.strip(BLANKS)
    if not device_id:
        raise Rejection("missing_device_id", "id: blank")
    if not (device_id.isascii() and device_id.isprintable()):
        device_id = _judge_unusual_id(device_id, replaced)
    if len(device_id) > DEVICE_ID_LENGTH:
        raise Rejection("bad_device_id", f"id: {len(device_id)} characters, more than {DEVICE_ID_LENGTH}")
    return device_id


def _decimal_id(number: int) -> str:
    if abs(number) >= 10**DEVICE_ID_LENGTH or len(str(number)) > DEVICE_ID_LENGTH:
        raise Rejection("bad_device_id", f"id: an integer of more than {DEVICE_ID_LENGTH} digits")
    return str(number)


def _judge_unusual_id(device_id: str, replaced: bool) -> str:
    """Normalize an id that is not plain ASCII, and refuse it where two that look alike could differ."""
    if replaced and "\ufffd" in device_id:
        raise Rejection("bad_device_id", "id: invalid UTF-8")
    if has_hidden(device_id):
        position = next(position for position, char in enumerate(device_id) if is_hidden(char))
        what = f"control, bidi, zero-width or unassigned character U+{ord(device_id[position]):04X}"
        raise Rejection("bad_device_id", f"id: {what} at position {position}")
    if len(device_id) > _MAX_UNNORMALIZED_LENGTH:
        return device_id
    return unicodedata.normalize("NFC", device_id)


def _read_state(document: dict[str, Any], length: int, values: list[Any], warnings: list[str]) -> int:
    """Fill the values of the state columns; tell which columns the report sets, as in `Report.present`."""
    present = 1 << _REPORT_WARNINGS
    problems: list[str] = []
    unknown = {}
    for key, value in document.items():
        field = _FIELDS.get(key)
        if field is None:
            if key not in _ID_KEYS:
                unknown[key] = value
            continue
        index, bits, read, bound, derive = field
        present |= bits
        if value is None:
            continue
        values[index] = read(value, bound, problems)
        if derive is not None:
            derive(values, problems)
        if problems:
            _warn(key, problems, warnings)
    if unknown:
        present |= 1 << _EXTRA
        values[_EXTRA] = _read_extra(unknown, length, warnings)
    return present


def _read_extra(unknown: dict[str, Any], length: int, warnings: list[str]) -> dict[str, Any]:
    """Keep the unknown keys, in their order, while they fit."""
    extra: dict[str, Any] = {}
    size = 2
    measured = length > _SURELY_FITS
    for position, (key, value) in enumerate(unknown.items()):
        problems: list[str] = []
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
            _warn(key, problems, warnings)
    return extra


def _read_time(document: dict[str, Any], envelope: Envelope, warnings: list[str]) -> datetime | None:
    """Find the first plausible of the times that the device gave."""
    value = document.get("timestamp")
    if value is not None:
        instant = _read_timestamp(value, envelope, warnings)
        if instant is not None:
            return instant
    if envelope.headers:
        instant = _header_time(envelope.headers.get("timestamp_in_ms"))
        if instant is not None and _is_plausible(instant, envelope):
            return instant
    if type(envelope.timestamp) is int:
        instant = instants.from_epoch(envelope.timestamp)
        if instant is not None and _is_plausible(instant, envelope):
            return instant
    return None


def _read_timestamp(value: object, envelope: Envelope, warnings: list[str]) -> datetime | None:
    problems: list[str] = []
    instant = instants.read(value, problems)
    if instant is not None and not _is_plausible(instant, envelope):
        problems.append(f"{instant.isoformat()} is before 2020 or more than 5 minutes after it was received")
        instant = None
    if problems:
        _warn("timestamp", problems, warnings)
    return instant


def _header_time(value: object) -> datetime | None:
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    return instants.from_epoch_ms(value) if type(value) is int else None


def _is_plausible(instant: datetime, envelope: Envelope) -> bool:
    return EARLIEST_PLAUSIBLE <= instant <= envelope.received_at + PLAUSIBLE_CLOCK_SKEW


def _identify_undated(body: bytes, envelope: Envelope) -> tuple[bytes, bytes | None]:
    """Make digest and receipt of a report without a time: by its `message_id`, else by what only this delivery has."""
    if envelope.message_id:
        digest = _digest(b"message_id", _octets(envelope.message_id), body)
        return digest, digest
    return _digest(b"delivery_key", envelope.delivery_key, body), None


def _digest(kind: bytes, key: bytes, body: bytes) -> bytes:
    # With the length before it, no key can pass for the beginning of another's body.
    return blake2b(len(key).to_bytes(8, "big") + key + body, digest_size=16, person=kind).digest()


def _octets(message_id: object) -> bytes:
    if isinstance(message_id, bytes):
        return message_id
    return str(message_id).encode("utf-8", "surrogatepass")


def _warn(key: str, problems: list[str], warnings: list[str]) -> None:
    """Move the problems of a key to the warnings."""
    shown = clean(key, _MAX_KEY_SHOWN)
    warnings.extend([clean(f"{shown}: {problem}", MAX_WARNING_LENGTH) for problem in problems])
    problems.clear()


def _warn_of_replacements(document: dict[str, Any], warnings: list[str]) -> None:
    for key, value in document.items():
        if "\ufffd" in key or "\ufffd" in json.dumps(value, ensure_ascii=False):
            _warn(key, ["invalid UTF-8, U+FFFD in its place"], warnings)


def _bounded(warnings: list[str]) -> list[str]:
    if len(warnings) <= MAX_WARNINGS:
        return warnings
    left_out = len(warnings) - MAX_WARNINGS + 1
    return [*warnings[: MAX_WARNINGS - 1], f"report_warnings: {left_out} more"]
