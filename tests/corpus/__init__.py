"""The corpus of inputs, `inputs.toml`, as messages with what must become of each. Its format is told at its head.

Knows the contract's words; neither decoder, broker nor database. Whoever has found out what became of a message asks
`Case.differences` and `Case.differences_of_copy`.
"""

from __future__ import annotations

import gzip
import json
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import pika
from pika import data as pika_data

from rpi_health.report import State

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

INPUTS = Path(__file__).with_name("inputs.toml")
#: The seconds that `<now+…s>` may name.
AHEAD = (240, 3600)
OWN_HEADERS = tuple(f"x-rpi-health-{n}" for n in ("reason", "detail", "queue", "received-at", "redelivered", "version"))
COPIED_PROPERTIES = (
    "content_type",
    "content_encoding",
    "priority",
    "correlation_id",
    "reply_to",
    "message_id",
    "timestamp",
    "type",
    "app_id",
    "cluster_id",
)
JSON_COLUMNS = ("spi_buses", "i2c_buses", "net_ifaces", "extra")
#: The state columns, but for `report_warnings`, of a device that has sent nothing but its id.
UNSET: dict[str, Any] = {
    **{name: None for name in State._fields if name != "report_warnings"},
    "led_internal_status": False,
    "led_external_status": False,
}


class WireProperties(pika.BasicProperties):
    """Properties with headers that pika does not encode, though a broker passes them on.

    Args:
        table: what is in the table of headers, in its encoding.
    """

    def __init__(self, table: bytes, **properties: Any) -> None:
        super().__init__(**properties, headers={"its": "place"})
        self.table = struct.pack(">I", len(table)) + table

    def encode(self) -> list[bytes]:
        return [b"".join(super().encode()).replace(_encoded_table(self.headers), self.table, 1)]


def encoded_headers(properties: pika.BasicProperties) -> bytes:
    """The headers as they are on the wire, with their length before them."""
    return properties.table if isinstance(properties, WireProperties) else _encoded_table(properties.headers or {})


def _encoded_table(headers: Any) -> bytes:
    pieces: list[bytes] = []
    pika_data.encode_table(pieces, headers)
    return b"".join(pieces)


@dataclass(frozen=True)
class Case:
    """A message, and what must become of it.

    Args:
        name: the property that it guards.
        body: as sent.
        before: the body of a report that is sent just before it, if any.
        properties: of both, as sent.
        refused: the reason for which it is dead-lettered; None where it is stored.
        copied: the headers that its dead letter must have besides our own.
        raspberry_id: the device that it is of, if stored.
        columns: the state columns, but for `report_warnings`, once it is stored.
        warnings: what the lines of `report_warnings` contain.
        reported_at: the time that it is given; None for the receive time.
        rows: in the history of the device.
    """

    name: str
    body: bytes
    before: bytes | None
    properties: pika.BasicProperties
    refused: str | None
    copied: dict[str, Any]
    raspberry_id: str
    columns: dict[str, Any]
    warnings: tuple[str, ...]
    reported_at: datetime | None
    rows: int

    @property
    def is_dated(self) -> bool:
        """Whether it can be told from another one when it is delivered again."""
        return self.reported_at is not None or bool(self.properties.message_id)

    def differences(self, found: Mapping[str, Any]) -> list[str]:
        """What is wrong with a row of `device_status`."""
        wrong = [
            f"{name}: {found[name]!r:.200} where {value!r:.200} is expected"
            for name, value in self.columns.items()
            if not same(found[name], value)
        ]
        lines = found["report_warnings"] or []
        wrong += [f"no warning of {word}: {lines}" for word in self.warnings if not any(word in line for line in lines)]
        wrong += [f"a warning too many: {line}" for line in lines if not any(word in line for word in self.warnings)]
        if self.reported_at is not None and found["reported_at"] != self.reported_at:
            wrong.append(f"reported_at: {found['reported_at']} where {self.reported_at} is expected")
        return wrong

    def differences_of_copy(self, copy: pika.BasicProperties) -> list[str]:
        """What is wrong with the properties of its dead letter."""
        sent = {name: as_received(getattr(self.properties, name)) for name in COPIED_PROPERTIES}
        sent.update(delivery_mode=2, user_id=None, expiration=None)
        wrong = [
            f"{name}: {getattr(copy, name)!r} where {value!r} is expected"
            for name, value in sent.items()
            if getattr(copy, name) != value
        ]
        headers: dict[Any, Any] = dict(copy.headers or {})
        wrong += [f"header {name} is missing" for name in OWN_HEADERS if headers.pop(name, None) is None]
        wrong += [f"header {name} is not as sent" for name, v in self.copied.items() if not same(headers.get(name), v)]
        wrong += [f"header {name} is copied" for name in ("CC", "BCC") if name in headers]
        if len(_encoded_table(headers)) > 16 * 1024:
            wrong.append("more than 16 KiB of headers are copied")
        return wrong


def load(now: datetime) -> list[Case]:
    """Read the corpus for messages that are sent now."""
    groups = tomllib.loads(INPUTS.read_text("utf-8"))
    return [_case(f"{group}.{name}", entry, now) for group, cases in groups.items() for name, entry in cases.items()]


def same(found: Any, expected: Any) -> bool:
    """Whether two JSON values are the same: true is not 1, but 1.0 is, however large."""
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], value) for key, value in expected.items())
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(found, float) != isinstance(expected, float) and isinstance(found, (int, float)):
        return isinstance(expected, (int, float)) and float(found) == float(expected)
    return bool(found == expected)


def as_received(value: Any) -> Any:
    """A property as pika gives it to who receives it: bytes where they are no UTF-8."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


_BODY_KEYS = {"body", "hex", "charset", "pad_to", "gzip", "cut", "append_hex"}
_OTHER_KEYS = {"before", "properties", "wire_headers", "copied", "reported_at", "rows", "warnings"}


def _case(name: str, entry: dict[str, Any], now: datetime) -> Case:
    entry = _filled(entry, {"<id>": name, **_instants(now), **_repeated(entry.pop("repeat", {}))})
    stored = dict(entry.get("stored", {}))
    raspberry_id = stored.pop("raspberry_id", name)
    sent = entry.get("properties", {})
    before = entry["before"].encode() if "before" in entry else None
    _check(name, entry, stored)
    return Case(
        name=name,
        body=_encoded(entry),
        before=before,
        properties=_properties(sent, entry.get("wire_headers", [])),
        refused=entry.get("refused"),
        copied=json.loads(entry["copied"]) if "copied" in entry else sent.get("headers", {}),
        raspberry_id=raspberry_id,
        columns={**UNSET, **{column: _value(column, value) for column, value in stored.items()}},
        warnings=tuple(entry.get("warnings", ())),
        reported_at=_instant(entry["reported_at"]) if "reported_at" in entry else None,
        rows=entry.get("rows", 1 if before is None else 2),
    )


def _check(name: str, entry: dict[str, Any], stored: dict[str, Any]) -> None:
    unknown = [*(entry.keys() - _BODY_KEYS - _OTHER_KEYS - {"refused", "stored"}), *(stored.keys() - UNSET.keys())]
    if unknown:
        raise ValueError(f"{name}: {unknown} mean nothing here")
    if ("refused" in entry) == ("stored" in entry) or ("body" in entry) == ("hex" in entry):
        raise ValueError(f"{name}: either stored or refused; either body or hex")


def _instants(now: datetime) -> dict[str, str]:
    return {f"<now+{seconds}s>": (now + timedelta(seconds=seconds)).isoformat() for seconds in AHEAD}


def _repeated(repeat: dict[str, list[Any]]) -> dict[str, str]:
    return {mark: "".join(_numbered(text, times)) for mark, (text, times) in repeat.items()}


def _numbered(text: str, times: int) -> Iterator[str]:
    return (text.replace("#", str(number)) for number in range(times)) if "#" in text else iter([text * times])


def _filled(value: Any, marks: dict[str, str]) -> Any:
    """The value with its marks filled, in all of its texts."""
    if isinstance(value, dict):
        return {key: _filled(inner, marks) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, marks) for inner in value]
    if isinstance(value, str):
        return reduce(lambda text, mark: text.replace(mark, marks[mark]), marks, value)
    return value


def _encoded(entry: dict[str, Any]) -> bytes:
    body = bytes.fromhex(entry["hex"]) if "hex" in entry else entry["body"].encode(entry.get("charset", "utf-8"))
    body = body.ljust(entry.get("pad_to", 0))
    for _ in range(entry.get("gzip", 0)):
        body = gzip.compress(body, mtime=0)
    return bytes(body[: len(body) - entry.get("cut", 0)] + bytes.fromhex(entry.get("append_hex", "")))


def _value(column: str, value: Any) -> Any:
    if value == "NULL":
        return None
    return json.loads(value) if column in JSON_COLUMNS else value


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _properties(sent: dict[str, Any], wire_headers: list[Any]) -> pika.BasicProperties:
    named = {name: value for name, value in sent.items() if not name.endswith("_hex")}
    named.update((name[:-4], bytes.fromhex(value)) for name, value in sent.items() if name.endswith("_hex"))
    named = {"delivery_mode": 2, **named}
    if not wire_headers:
        return pika.BasicProperties(**named)
    return WireProperties(b"".join(_wire_header(*header) for header in wire_headers), **named)


def _wire_header(name: str, kind: str, content: str | int) -> bytes:
    value = _nested(kind.encode(), content) if isinstance(content, int) else bytes.fromhex(content)
    if kind in "SxAF" and isinstance(content, str):
        value = struct.pack(">I", len(value)) + value
    encoded = name.encode()
    return bytes([len(encoded)]) + encoded + (value if isinstance(content, int) else kind.encode() + value)


def _nested(kind: bytes, levels: int) -> bytes:
    """A table in a table, or an array in an array, so many levels deep."""
    value = b"V"
    for _ in range(levels):
        inner = b"\x01a" + value if kind == b"F" else value
        value = kind + struct.pack(">I", len(inner)) + inner
    return value
