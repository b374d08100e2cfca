"""A device as the database knows it: what the read side passes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Device:
    """One row of `device_status`. Instants are aware and in UTC; None is unknown.

    Field names carry the unit where the text as sent does not: `cpu_temp_celsius`, `mem_used_bytes`, `interval_s`.
    """

    raspberry_id: str
    wifi_status: str | None
    mem_usage: str | None
    mem_used_bytes: int | None
    mem_percent: float | None
    cpu_temp: str | None
    cpu_temp_celsius: float | None
    cpu_percent: float | None
    gpio_used_count: int | None
    usb_devices_count: int | None
    net_bytes_sent: int | None
    net_bytes_recv: int | None
    led_internal_status: bool | None
    led_external_status: bool | None
    interval_s: float | None
    spi_buses: Any
    i2c_buses: Any
    net_ifaces: Any
    extra: Any
    report_warnings: Any
    first_seen: datetime | None
    reported_at: datetime | None
    last_update: datetime | None


def address(net_ifaces: Any) -> str | None:
    """The first address in `net_ifaces` that is not the device's own loopback.

    Understands the example's list of objects with an `ip`, and an object from name to address. Anything else: None.
    """
    if isinstance(net_ifaces, dict):
        net_ifaces = list(net_ifaces.values())
    if not isinstance(net_ifaces, list):
        return None
    candidates = (each.get("ip") if isinstance(each, dict) else each for each in net_ifaces)
    texts = (each for each in candidates if isinstance(each, str) and each)
    return next((text for text in texts if not text.startswith("127.") and text != "::1"), None)
