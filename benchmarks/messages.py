"""The messages: the example report of the message format, dated, of devices in turn or at random."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from rpi_health.example import REPORT

_HOUR_S = 3600.0


def device_id(number: int) -> str:
    """The ids sort as their numbers do."""
    return f"raspberry-{number:07d}"


def report(device: int, reported_at_s: float, number: int = 0) -> dict[str, Any]:
    """The report of a device, with counters that differ from message to message.

    Args:
        reported_at_s: its `timestamp`, seconds since 1970.
        number: of the message.
    """
    return {
        "id": device_id(device),
        **REPORT,
        "net_bytes_sent": REPORT["net_bytes_sent"] + number,
        "net_bytes_recv": REPORT["net_bytes_recv"] + number,
        "timestamp": reported_at_s,
    }


def bodies(
    count: int, devices: int, *, now_s: float, first: int = 0, shuffled: bool = False, size_bytes: int = 0
) -> Iterator[bytes]:
    """Bodies of `count` reports, each a millisecond younger than the one before, from an hour ago on.

    Args:
        devices: so many devices, in turn.
        now_s: the present, seconds since 1970.
        first: the number of the first message, where others were sent before.
        shuffled: devices at random rather than in turn; the same ones each time.
        size_bytes: each body is filled up to this size with a key that has no column.
    """
    dice = random.Random(first)
    for number in range(first, first + count):
        device = dice.randrange(devices) if shuffled else number % devices
        fields = report(device, round(now_s - _HOUR_S + number / 1000, 3), number)
        yield _filled_up(fields, size_bytes) if size_bytes else _encode(fields)


def _filled_up(fields: dict[str, Any], size_bytes: int) -> bytes:
    lacking = size_bytes - len(_encode({**fields, "note": ""}))
    return _encode({**fields, "note": "x" * lacking})


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()
