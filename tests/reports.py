"""Reports for tests, decoded by the product's own reader, and what became of them in a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import sqlalchemy as sa

from rpi_health.database import create_engine
from rpi_health.models import DeviceHistory, DeviceStatus
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report

# The example of the message format without its id.
EXAMPLE = {
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
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
_deliveries = count()


def at(minute: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minute)


def report(fields: dict[str, Any], *, minute: float | None = None, received: float = 60, **envelope: Any) -> Report:
    """A report as if it had been received `received` minutes after noon, dated `minute` (undated without)."""
    body = {"id": "pi", **fields, **({} if minute is None else {"timestamp": at(minute).isoformat()})}
    key = next(_deliveries).to_bytes(8, "big")
    return decode(json.dumps(body).encode(), Envelope(at(received), key, **envelope))


@contextmanager
def rows(url: str) -> Iterator[sa.Connection]:
    """A connection for looking."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def status(url: str, device: str = "pi") -> dict[str, Any]:
    """The row of a device."""
    with rows(url) as connection:
        query = sa.select(DeviceStatus.__table__).where(DeviceStatus.raspberry_id == device)
        return dict(connection.execute(query).mappings().one())


def history(url: str, device: str | None = "pi") -> list[dict[str, Any]]:
    """The history of a device, or of all, oldest first."""
    with rows(url) as connection:
        query = sa.select(DeviceHistory.__table__).order_by(DeviceHistory.reported_at)
        if device is not None:
            query = query.where(DeviceHistory.raspberry_id == device)
        return [dict(row) for row in connection.execute(query).mappings()]


def count_rows(url: str, model: Any) -> int:
    """How many rows a table has."""
    with rows(url) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(model)).scalar_one())
