"""A decoder for AMQP header tables that never raises: it keeps what can be read. Knows the wire format, and no pika.

The field kinds are RabbitMQ's: https://www.rabbitmq.com/amqp-0-9-1-errata#section_3
"""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

#: Tables and arrays inside each other beyond this are skipped. It stays far from Python's limit on recursion.
MAX_DEPTH = 32
_FORMATS = {"t": ">?", "b": ">b", "B": ">B", "U": ">h", "s": ">h", "u": ">H", "I": ">i", "i": ">I"}
_FORMATS.update({"L": ">q", "l": ">q", "f": ">f", "d": ">d", "D": ">Bi", "T": ">Q"})
_FIXED = {kind.encode(): struct.Struct(form) for kind, form in _FORMATS.items()}


def end_of(encoded: bytes, offset: int) -> int:
    """Where that ends which begins here with its length in four bytes; at the latest, where the bytes end."""
    return min(offset + 4 + int.from_bytes(encoded[offset : offset + 4], "big"), max(offset, len(encoded)))


def decode(encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
    """Decode the table at an offset, as far as that is possible.

    A value that Python cannot represent becomes a number. A value that cannot be read, or is nested too deep, is None;
    if its length is unknown too, the rest of its table is left out. A string that is not UTF-8 stays bytes.

    Returns:
        The table, and the offset behind it, whatever the table holds.
    """
    end = end_of(encoded, offset)
    try:
        return _table(encoded, offset + 4, end, 0), end
    except Exception:  # the last resort: without its headers the message can be handled, without an answer none can
        return {}, end


def _table(encoded: bytes, offset: int, end: int, depth: int) -> dict[Any, Any]:
    table = {}
    while offset < end:
        name_at = offset + 1
        offset = name_at + encoded[offset]
        if offset >= end:
            break
        name = _text(encoded[name_at:offset])
        table[name], offset = _value(encoded, offset, end, depth)
    return table


def _array(encoded: bytes, offset: int, end: int, depth: int) -> list[Any]:
    array = []
    while offset < end:
        value, offset = _value(encoded, offset, end, depth)
        array.append(value)
    return array


def _value(encoded: bytes, offset: int, end: int, depth: int) -> tuple[Any, int]:
    kind, start = encoded[offset : offset + 1], offset + 1
    if kind == b"V":
        return None, start
    if kind in b"SxAF":
        behind = min(end_of(encoded, start), end)
        return _sized(kind, encoded, start + 4, behind, depth), behind
    form = _FIXED.get(kind)
    if form is None or start + form.size > end:
        return None, end
    return _scalar(kind, *form.unpack_from(encoded, start)), start + form.size


def _sized(kind: bytes, encoded: bytes, start: int, end: int, depth: int) -> Any:
    if kind == b"S":
        return _text(encoded[start:end])
    if kind == b"x":
        return encoded[start:end]
    if depth == MAX_DEPTH:
        return None
    return (_table if kind == b"F" else _array)(encoded, start, end, depth + 1)


def _scalar(kind: bytes, number: Any, unscaled: int = 0) -> Any:
    if kind == b"D":
        return Decimal(f"{unscaled}E-{number}")
    if kind == b"T":
        try:
            return datetime.fromtimestamp(number, timezone.utc)
        except (ValueError, OverflowError, OSError):
            return number
    return number


def _text(encoded: bytes) -> str | bytes:
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return encoded
