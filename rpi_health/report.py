"""The nouns that travel from the broker to the database: an envelope, a report and its state.

Frozen facts without behaviour. `payload` makes reports from bytes; the store writes them. Named tuples rather than
dataclasses: one of each is made for every message, and a tuple is made three times as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

#: Lengths in characters. MySQL and MariaDB need one on every text; longer text is cut by `payload` with a warning.
DEVICE_ID_LENGTH = 128
WIFI_STATUS_LENGTH = 255
MEM_USAGE_LENGTH = 64
CPU_TEMP_LENGTH = 64


class Envelope(NamedTuple):
    """What is known about a body besides its bytes.

    Args:
        received_at: when this consumer took the delivery; aware, UTC.
        delivery_key: bytes that no other delivery has, not even the redelivery of the same message.
        waiting: whether the message was already in the queue when the consumer connected.
        content_encoding: the AMQP property, if any.
        message_id: the AMQP property, if any.
        timestamp: the AMQP property, if any, as the number that was sent.
        headers: the AMQP headers; empty without any.
    """

    received_at: datetime
    delivery_key: bytes
    waiting: bool = False
    content_encoding: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    headers: Mapping[str, Any] = {}


class State(NamedTuple):
    """The state columns of a device, named as in the table `device_status`. None is SQL NULL.

    The position of a field is its bit in `Report.present`: append, never reorder.
    """

    wifi_status: str | None = None
    mem_usage: str | None = None
    mem_used_bytes: int | None = None
    mem_percent: float | None = None
    cpu_temp: str | None = None
    cpu_temp_celsius: float | None = None
    cpu_percent: float | None = None
    gpio_used_count: int | None = None
    usb_devices_count: int | None = None
    net_bytes_sent: int | None = None
    net_bytes_recv: int | None = None
    led_internal_status: bool | None = None
    led_external_status: bool | None = None
    interval_s: float | None = None
    spi_buses: Any = None
    i2c_buses: Any = None
    net_ifaces: Any = None
    extra: Mapping[str, Any] | None = None
    report_warnings: list[str] | None = None


class Report(NamedTuple):
    """One health check, read and judged.

    Args:
        raspberry_id: the device; trimmed, NFC, 1-128 characters.
        reported_at: when the device made it, or the receive time where it did not say; aware, UTC.
        received_at: when this consumer took the delivery; aware, UTC.
        heard_at: when the fleet heard from the device by this report; aware, UTC.
        digest: 16 bytes; the same for a redelivery of the same message, whenever that can be told.
        receipt: 16 bytes that name the message where it has a `message_id` but no time of its own, else None.
        state: the state columns; a field that was not sent is None.
        present: a bit for each field of `State` that the report sets (also to NULL); the others keep what is stored.
        payload: the JSON object as it was sent.
    """

    raspberry_id: str
    reported_at: datetime
    received_at: datetime
    heard_at: datetime
    digest: bytes
    receipt: bytes | None
    state: State
    present: int
    payload: dict[str, Any]
