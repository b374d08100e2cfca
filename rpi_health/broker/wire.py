"""What travels in AMQP frames besides bodies: properties out of pika's objects and back, and a guard on its decoder."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from types import ModuleType
from typing import Any

import pika
from pika import data as pika_data
from pika import spec

from rpi_health.broker import tolerant_table
from rpi_health.delivery import Properties

#: Copied headers together take at most this much on the wire.
MAX_HEADER_BYTES = 16 * 1024
_MAX_KEPT_BYTES = 1024
# The broker would route the copy by these, or drop it.
_NOT_COPIED = frozenset({"CC", "BCC"})

_read: Callable[[Any], Any] = operator.attrgetter(*Properties._fields)


def properties_of(sent: pika.BasicProperties) -> Properties:
    """The properties that a message was sent with."""
    return Properties._make(_read(sent))


def decode_properties(encoded: bytes) -> Properties:
    """The properties in a content header; none where they cannot be read.

    Most producers send the same ones with each message. What a header holds must not be changed: others have it too.
    """
    # Decoded, a hostile table takes twenty times as much memory: not to be kept.
    return (_decode_once if len(encoded) <= _MAX_KEPT_BYTES else _decode)(encoded)


def _decode(encoded: bytes) -> Properties:
    sent = pika.BasicProperties()
    try:
        sent.decode(encoded)
    except Exception:  # cut short: without them the message can be handled, without an answer none can
        return Properties()
    return properties_of(sent)


_decode_once = lru_cache(maxsize=16)(_decode)


def basic_properties(properties: Properties, own_headers: Mapping[str, Any]) -> pika.BasicProperties:
    """Persistent properties for publishing: the copied headers that fit, then our own."""
    headers = {**_portable_headers(properties.headers or {}), **own_headers}
    return pika.BasicProperties(**{**properties._asdict(), "headers": headers or None}, delivery_mode=2)


def _portable_headers(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    kept: dict[Any, Any] = {}
    room = MAX_HEADER_BYTES
    for name, value in _portable(dict(headers)).items():
        size = pika_data.encode_table([], {name: value})
        if size <= room and name not in _NOT_COPIED:
            kept[name] = value
            room -= size
    return kept


def _portable(value: Any, depth: int = 0) -> Any:
    """A value that pika can encode: what it cannot becomes text, and what is nested too deep None.

    An entry whose name it cannot encode is left out. Never raises: the message could never be dead-lettered.
    """
    if isinstance(value, (dict, list)):
        if depth > tolerant_table.MAX_DEPTH:
            return None
        if isinstance(value, list):
            return [_portable(inner, depth + 1) for inner in value]
        encode_name = pika_data.encode_short_string
        return {name: _portable(inner, depth + 1) for name, inner in value.items() if _can(encode_name, name)}
    # pika rounds a Decimal without a word.
    return value if not isinstance(value, Decimal) and _can(pika_data.encode_value, value) else _text(value)


def _can(encode: Callable[[list[bytes], Any], int], value: Any) -> bool:
    try:
        encode([], value)
    except Exception:  # struct.error, OverflowError, UnicodeEncodeError, pika's own: it checks little
        return False
    return True


def _text(value: Any) -> str:
    try:
        text = str(value)
    except Exception:  # such as an int of more than 4300 digits
        text = f"<{type(value).__name__}>"
    return text.encode(errors="backslashreplace").decode()


def guard_decoder() -> None:
    """Keep a message's headers from ending the connection, and the next one when they are redelivered, and so on.

    pika 1.4.4 raises on a timestamp past the year 9999 (https://github.com/pika/pika/issues/1698), on a float that is
    not finite, and on nesting deeper than Python's stack; it follows a string's length out of its table; and of each
    other float it makes an integer. So received tables are decoded by `tolerant_table`.
    """
    # In `spec`, which decodes what is received; what pika encodes and decodes elsewhere is its own affair.
    if spec.data is pika_data:  # type: ignore[attr-defined]
        guarded = ModuleType(pika_data.__name__)
        vars(guarded).update(vars(pika_data), decode_table=tolerant_table.decode)
        spec.data = guarded  # type: ignore[attr-defined]
