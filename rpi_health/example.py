"""The example report of the message format, for one device or many. What `publish-test` sends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

#: The example without its `id`.
REPORT: Mapping[str, Any] = {
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


def device_ids(first: str, count: int) -> Iterator[str]:
    """Ids numbered from the first one, as wide as its own number: raspberry-01, raspberry-02 …

    A first id without a number stands for itself; the next ones are numbered from 2: pi, pi-2, pi-3 …
    """
    match = re.fullmatch(r"(.*?)([0-9]+)", first, re.DOTALL)
    if match is None:
        yield first
        yield from (f"{first}-{number}" for number in range(2, count + 1))
        return
    stem, digits = match.groups()
    yield from (f"{stem}{number:0{len(digits)}d}" for number in range(int(digits), int(digits) + count))


def bodies(first: str, devices: int, count: int, changes: Mapping[str, Any]) -> Iterator[bytes]:
    """Bodies of `count` reports, of the devices in turn, with some keys set to other values."""
    ids = list(device_ids(first, devices))
    for number in range(count):
        yield json.dumps({"id": ids[number % devices], **REPORT, **changes}, ensure_ascii=False).encode()
