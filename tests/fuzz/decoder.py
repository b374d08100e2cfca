"""Fuzz target: whatever a body and its envelope hold, the decoder judges them, soon, and what it keeps can be stored.

An input is flags, then the properties that they announce in AMQP's own encoding, then the body.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pika
from pika import data as pika_data

from rpi_health.broker import tolerant_table
from rpi_health.errors import REASONS, Rejection
from rpi_health.payload import decode
from rpi_health.report import (
    CPU_TEMP_LENGTH,
    DEVICE_ID_LENGTH,
    MEM_USAGE_LENGTH,
    WIFI_STATUS_LENGTH,
    Envelope,
    Report,
    State,
)
from rpi_health.text import clean, is_hidden, is_private, storable
from tests.corpus import encoded_headers, load

RECEIVED_AT = datetime(2026, 1, 31, 9, tzinfo=timezone.utc)
EARLIEST = datetime(2020, 1, 1, tzinfo=timezone.utc)
LATEST = RECEIVED_AT + timedelta(minutes=5)
CONTENT_ENCODING, MESSAGE_ID, TIMESTAMP, HEADERS, WAITING = 1, 2, 4, 8, 16
#: Seconds of this process: a busy machine does not count.
TIME_LIMIT_S = 1.0
JSON_COLUMNS = ("spi_buses", "i2c_buses", "net_ifaces", "extra", "report_warnings")
TEXT_LIMITS = {"wifi_status": WIFI_STATUS_LENGTH, "mem_usage": MEM_USAGE_LENGTH, "cpu_temp": CPU_TEMP_LENGTH}
COUNT_LIMITS = {
    "gpio_used_count": 2**31 - 1,
    "usb_devices_count": 2**31 - 1,
    "net_bytes_sent": 2**63 - 1,
    "net_bytes_recv": 2**63 - 1,
    "mem_used_bytes": 2**63 - 1,
}
FLOATS = ("mem_percent", "cpu_temp_celsius", "cpu_percent", "interval_s")
SWITCHES = ("led_internal_status", "led_external_status")
MAX_EXTRA_BYTES = 65_536


def check(data: bytes) -> None:
    """Decode twice, and raise `AssertionError` where a promise is broken. What else the decoder raises is a finding."""
    body, envelope = split(data)
    started = time.process_time()
    verdict = judge(body, envelope)
    assert time.process_time() - started < TIME_LIMIT_S, "slow"
    # By their repr: NaN, which a payload may hold, equals nothing.
    assert repr(verdict) == repr(judge(body, envelope)), "not deterministic"


def judge(body: bytes, envelope: Envelope) -> Report | Rejection:
    """What the decoder makes of a message, examined."""
    try:
        report = decode(body, envelope)
    except Rejection as rejection:
        check_rejection(rejection)
        return rejection
    check_report(report, envelope)
    return report


def check_rejection(rejection: Rejection) -> None:
    """Raise `AssertionError` unless it can be written to the headers of a dead letter, and shown."""
    assert rejection.reason in REASONS, rejection.reason
    assert 0 < len(rejection.detail) <= 300, "length of the detail"
    assert clean(rejection.detail) == rejection.detail, "detail is not safe to print"


def check_report(report: Report, envelope: Envelope) -> None:
    """Raise `AssertionError` unless every database can store it."""
    _check_identity(report)
    _check_times(report, envelope)
    _check_state(report.state)


def split(data: bytes) -> tuple[bytes, Envelope]:
    """Read an input: the body, and the envelope. What is missing at its end is taken for empty."""
    flags, rest = data[:1] or b"\0", data[1:]
    present = flags[0]
    content_encoding, rest = _short_string(rest) if present & CONTENT_ENCODING else (None, rest)
    message_id, rest = _short_string(rest) if present & MESSAGE_ID else (None, rest)
    timestamp, rest = (int.from_bytes(rest[:8], "big"), rest[8:]) if present & TIMESTAMP else (None, rest)
    headers, end = tolerant_table.decode(rest, 0) if present & HEADERS else ({}, 0)
    envelope = Envelope(
        RECEIVED_AT, b"delivery", bool(present & WAITING), content_encoding, message_id, timestamp, headers
    )
    return rest[end:], envelope


def seeds() -> Iterator[bytes]:
    """The corpus, as inputs."""
    for case in load(RECEIVED_AT):
        yield joined(case.body, case.properties)


def joined(body: bytes, properties: pika.BasicProperties) -> bytes:
    """The input for a body and its properties."""
    present, pieces = 0, [b""]
    for bit, text in ((CONTENT_ENCODING, properties.content_encoding), (MESSAGE_ID, properties.message_id)):
        if text is not None:
            present |= bit
            pika_data.encode_short_string(pieces, text)
    if properties.timestamp is not None:
        present |= TIMESTAMP
        pieces.append(struct.pack(">Q", properties.timestamp))
    if properties.headers is not None:
        present |= HEADERS
        pieces.append(encoded_headers(properties))
    return b"".join([bytes([present]), *pieces, body])


def _short_string(data: bytes) -> tuple[Any, bytes]:
    end = 1 + (data[0] if data else 0)
    octets = data[1:end]
    try:
        return octets.decode(), data[end:]
    except UnicodeDecodeError:
        return octets, data[end:]


def _check_identity(report: Report) -> None:
    device = report.raspberry_id
    assert type(device) is str
    assert 0 < len(device) <= DEVICE_ID_LENGTH, "length of the id"
    assert device == device.strip(), "id is not trimmed"
    assert all(is_private(char) or not is_hidden(char) for char in device), "id has invisible characters"
    assert len(report.digest) == 16
    assert report.receipt in (None, report.digest)
    assert type(report.payload) is dict
    assert 0 <= report.present < 1 << len(State._fields)


def _check_times(report: Report, envelope: Envelope) -> None:
    for instant in (report.reported_at, report.received_at, report.heard_at):
        assert instant.utcoffset() == timedelta(0), "not UTC"
    assert EARLIEST <= report.reported_at <= LATEST, "implausible"
    assert report.received_at == RECEIVED_AT
    assert report.heard_at <= RECEIVED_AT
    assert envelope.waiting or report.heard_at == RECEIVED_AT


def _check_state(state: State) -> None:
    for text in _texts(list(state)):
        assert storable(text) == text, "text that no database stores"
        text.encode()
    for name, limit in TEXT_LIMITS.items():
        assert getattr(state, name) is None or len(getattr(state, name)) <= limit, name
    for name, limit in COUNT_LIMITS.items():
        value = getattr(state, name)
        assert value is None or (type(value) is int and 0 <= value <= limit), name
    for name in FLOATS:
        value = getattr(state, name)
        assert value is None or (type(value) is float and math.isfinite(value)), name
    assert state.interval_s is None or state.interval_s > 0
    for name in SWITCHES:
        assert getattr(state, name) is None or type(getattr(state, name)) is bool, name
    for name in JSON_COLUMNS:
        value = getattr(state, name)
        assert json.loads(json.dumps(value, allow_nan=False)) == value, name
        assert all(-(2**63) <= number < 2**64 for number in _integers(value)), name
    _check_bounds(state)


def _check_bounds(state: State) -> None:
    extra, warnings = state.extra or {}, state.report_warnings or []
    assert len(extra) <= 256
    assert len(json.dumps(extra, ensure_ascii=False).encode()) <= MAX_EXTRA_BYTES
    assert len(warnings) <= 32
    assert all(len(line) <= 200 and clean(line) == line for line in warnings), "warning is not safe to print"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list):
        for element in value:
            yield from _texts(element)


def _integers(value: Any) -> Iterator[int]:
    if type(value) is int:
        yield value
    elif isinstance(value, dict):
        yield from _integers(list(value.values()))
    elif isinstance(value, list):
        for element in value:
            yield from _integers(element)
