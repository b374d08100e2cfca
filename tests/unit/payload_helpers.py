"""Bodies and envelopes for the tests of `payload`: the seed's example, and decoding it with a change or two."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from rpi_health.errors import Rejection
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report, State

RECEIVED_AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=timezone.utc)
#: A time that a device with a good clock would send.
EARLIER = RECEIVED_AT - timedelta(minutes=1)
ENVELOPE = Envelope(RECEIVED_AT, b"delivery-0000001")

SEED_EXAMPLE: dict[str, Any] = {
    "id": "raspberry-01",
    "wifi_status": "connected",
    "mem_usage": "512 MB",
    "cpu_temp": "48°C",
    "cpu_percent": 12.5,
    "gpio_used_count": 3,
    "spi_buses": ["spi0.0"],
    "i2c_buses": ["i2c-1"],
    "usb_devices_count": 2,
    "net_bytes_sent": 102400,
    "net_bytes_recv": 204800,
    "net_ifaces": [{"name": "wlan0", "ip": "192.168.0.10"}],
}


def body_of(**fields: Any) -> bytes:
    """Make the body of a report of device `pi` as a Python producer makes it."""
    return json.dumps({"id": "pi", **fields}).encode()


def read(body: bytes, **envelope: Any) -> Report:
    """Decode a body as delivered at `RECEIVED_AT`."""
    return decode(body, ENVELOPE._replace(**envelope))


def report(**fields: Any) -> Report:
    """Decode a report of device `pi` with these fields."""
    return read(body_of(**fields))


def state(**fields: Any) -> State:
    """Decode a report of device `pi` with these fields into its state."""
    return report(**fields).state


def sent(report: Report) -> set[str]:
    """Name the columns that a report sets."""
    return {name for bit, name in enumerate(State._fields) if report.present >> bit & 1}


def rejection(body: bytes, **envelope: Any) -> Rejection:
    """Decode a body that is no health check, for why it is none."""
    try:
        stored = read(body, **envelope)
    except Rejection as refused:
        return refused
    raise AssertionError(f"was stored: {stored}")
