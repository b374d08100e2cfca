"""Fuzz target: whatever a table of headers holds, pika under our guard reads it, and a dead letter can copy it, soon.

An input is what is in the table. The properties before and behind it must come out as they went in.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pika
from pika import data as pika_data
from pika import spec

from rpi_health.broker import tolerant_table, wire
from rpi_health.delivery import Properties
from tests.corpus import encoded_headers, load

#: Seconds of this process: a busy machine does not count.
TIME_LIMIT_S = 1.0
FLAGS = (
    spec.BasicProperties.FLAG_CONTENT_TYPE
    | spec.BasicProperties.FLAG_HEADERS
    | spec.BasicProperties.FLAG_DELIVERY_MODE
    | spec.BasicProperties.FLAG_MESSAGE_ID
)
OWN = {"x-rpi-health-reason": "bad_json"}


def check(data: bytes) -> None:
    """Receive and copy, and raise `AssertionError` where a promise is broken. What else is raised is a finding."""
    wire.guard_decoder()
    started = time.process_time()
    headers = _receive(data)
    copy = wire.basic_properties(Properties(headers=headers), OWN)
    copied: dict[Any, Any] = {name: value for name, value in (copy.headers or {}).items() if name not in OWN}
    assert pika_data.encode_table([], copied) <= wire.MAX_HEADER_BYTES, "more is copied than may be"
    assert not {"CC", "BCC"} & copied.keys(), "would be routed by the sender"
    again = pika.BasicProperties().decode(b"".join(copy.encode()))
    assert {name: (again.headers or {}).get(name) for name in OWN} == OWN
    _check_tolerant(data)
    assert time.process_time() - started < TIME_LIMIT_S, "slow"


def seeds() -> Iterator[bytes]:
    """The headers of the corpus."""
    for case in load(datetime(2026, 1, 31, tzinfo=timezone.utc)):
        if case.properties.headers:
            yield encoded_headers(case.properties)[4:]


def _receive(table: bytes) -> dict[Any, Any]:
    """What pika makes of a message with these headers, and with a property before and behind them."""
    header = struct.pack(">H", FLAGS) + b"\x04text" + struct.pack(">I", len(table)) + table + b"\x02\x02m1"
    found = pika.BasicProperties().decode(header)
    assert (found.content_type, found.delivery_mode, found.message_id) == ("text", 2, "m1"), "a property was misread"
    assert isinstance(found.headers, dict)
    return found.headers


def _check_tolerant(table: bytes) -> None:
    """The tolerant decoder reads all tables, not only those that pika fails on; also one cut off, or without an end."""
    encoded = struct.pack(">I", len(table)) + table
    headers, end = tolerant_table.decode(encoded, 0)
    assert end == len(encoded)
    assert depth_of(headers) <= tolerant_table.MAX_DEPTH + 1, "deeper than may be"
    for start in (0, 1, len(table)):
        _, end = tolerant_table.decode(table, start)
        assert start <= end <= max(len(table), start), "an end outside the bytes"


def depth_of(value: Any) -> int:
    """How many tables and arrays are inside each other."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)
