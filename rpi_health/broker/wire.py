"""What travels in AMQP frames besides bodies: properties out of pika's objects and back, and a guard on its decoder."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

import pika
from pika import data as pika_data

from rpi_health.delivery import Properties

#: Copied headers together take at most this much on the wire.
MAX_HEADER_BYTES = 16 * 1024
# The broker would route the copy by these, or drop it.
_NOT_COPIED = frozenset({"CC", "BCC"})
_UNDECODABLE = {b"T": (">Q", 8), b"d": (">d", 8), b"f": (">f", 4)}
_FAR_TIMESTAMP = b"T" + struct.pack(">Q", 1 << 48)

_read: Callable[[Any], Any] = operator.attrgetter(*Properties._fields)
_Decode = Callable[[bytes, int], tuple[Any, int]]


class _Decoder(Protocol):
    decode_value: _Decode


def properties_of(sent: pika.BasicProperties) -> Properties:
    """The properties that a message was sent with."""
    return Properties._make(_read(sent))


def basic_properties(properties: Properties, own_headers: Mapping[str, Any]) -> pika.BasicProperties:
    """Persistent properties for publishing: the copied headers that fit, then our own."""
    headers = {**_portable_headers(properties.headers or {}), **own_headers}
    return pika.BasicProperties(**{**properties._asdict(), "headers": headers or None}, delivery_mode=2)


def _portable_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    room = MAX_HEADER_BYTES
    for name, value in headers.items():
        portable = _portable(value)
        room -= pika_data.encode_table([], {name: portable})
        if room >= 0 and name not in _NOT_COPIED:
            kept[name] = portable
    return kept


def _portable(value: Any) -> Any:
    """A value that pika can encode: what it cannot becomes text."""
    if isinstance(value, dict):
        return {name: _portable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_portable(inner) for inner in value]
    if isinstance(value, (float, Decimal)) or (isinstance(value, int) and not -(1 << 63) <= value < 1 << 63):
        return str(value)
    return value


def guard_decoder(decoder: _Decoder = pika_data) -> None:  # type: ignore[assignment]
    """Keep header values that pika cannot represent from killing the connection, again and again.

    pika 1.4.4 raises on a timestamp past the year 9999 (https://github.com/pika/pika/issues/1698) and on a float that
    is NaN or infinite; the broker then redelivers the message to the next connection. Such a value becomes a plain
    number. Does nothing where pika has a fix of its own, or where the guard is on already.
    """
    decode: _Decode = decoder.decode_value
    try:
        decode(_FAR_TIMESTAMP, 0)
    except (ValueError, OverflowError, OSError):
        decoder.decode_value = _guarded(decode)


def _guarded(decode: _Decode) -> _Decode:
    def decode_value(encoded: bytes, offset: int) -> tuple[Any, int]:
        try:
            return decode(encoded, offset)
        except (ValueError, OverflowError, OSError):
            kind = encoded[offset : offset + 1]
            if kind not in _UNDECODABLE:
                raise
            form, size = _UNDECODABLE[kind]
            return struct.unpack_from(form, encoded, offset + 1)[0], offset + 1 + size

    return decode_value
