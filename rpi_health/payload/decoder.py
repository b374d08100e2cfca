"""The edge where bytes become a report, or a rejection that says why not.

Pure: no clock, socket, database or environment, so the same delivery always gives the same answer. A field that
cannot be read is lost, with a warning, rather than the report. Judges the id, the time and the identity of a message;
leaves the JSON to `jsontext`, the state to `columns`, and the reading of instants to `instants`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from hashlib import blake2b
from itertools import repeat
from typing import Any

from rpi_health.errors import Rejection
from rpi_health.payload import columns, instants, jsontext
from rpi_health.report import DEVICE_ID_LENGTH, Envelope, Report, State
from rpi_health.text import BLANKS, is_hidden, is_private

#: Pis have no clock battery: before and after these, the clock was wrong.
EARLIEST_PLAUSIBLE = datetime(2020, 1, 1, tzinfo=timezone.utc)
PLAUSIBLE_CLOCK_SKEW = timedelta(minutes=5)

# Four characters at most are one after NFC. What is longer yet is not normalized: that can take quadratic time.
_MAX_UNNORMALIZED_LENGTH = 4 * DEVICE_ID_LENGTH


Message = tuple[bytes, Envelope]
# A message that is a JSON object with an id: its position, the id, and what `jsontext.load` tells.
_Loaded = tuple[int, str, dict[str, Any], int, bool]


def decode(body: bytes, envelope: Envelope) -> Report:
    """Read a delivery as a health check.

    Args:
        body: the message's bytes, as received.
        envelope: what else is known about the delivery.

    Returns:
        The report, with a warning in its state for each field that was lost or changed.

    Raises:
        Rejection: the message is no health check; the reason is one of `errors.REASONS`.
    """
    (outcome,) = decode_all([(body, envelope)])
    if isinstance(outcome, Rejection):
        raise outcome
    return outcome


def decode_all(messages: Sequence[Message]) -> list[Report | Rejection]:
    """Read many deliveries, each as `decode` does: together those whose keys are the same, as most are."""
    outcomes: list[Any] = [None] * len(messages)
    alike: dict[tuple[str, ...], list[_Loaded]] = {}
    for position, (body, envelope) in enumerate(messages):
        try:
            loaded = jsontext.load(body, envelope.content_encoding)
            device = _read_id(loaded[0], loaded[2])
        except Rejection as rejection:
            outcomes[position] = rejection
        else:
            alike.setdefault(tuple(loaded[0]), []).append((position, device, *loaded))
    for group in alike.values():
        for (position, *_), report in zip(group, _read_alike(messages, group)):
            outcomes[position] = report
    return outcomes


def _read_alike(messages: Sequence[Message], group: Sequence[_Loaded]) -> Iterable[Report]:
    """Read messages whose documents have the same keys."""
    positions, devices, documents, lengths, replaced = zip(*group)
    bodies, envelopes = zip(*[messages[position] for position in positions])
    warnings: list[list[str]] = [[] for _ in group]
    values, present = columns.read(documents, lengths, warnings)
    times = list(map(_read_time, documents, envelopes, warnings))
    if any(replaced):
        for document, is_replaced, lines in zip(documents, replaced, warnings):
            if is_replaced:
                _warn_of_replacements(document, lines)
    if any(warnings):
        values[columns.REPORT_WARNINGS] = [columns.bounded(lines) if lines else None for lines in warnings]
    identities = zip(*map(_identify, bodies, envelopes, times))
    states = map(_new_state, zip(*values))
    return map(_new_report, zip(devices, *identities, states, repeat(present), documents))


# What `_make` does, but for a look at the length.
_new_state, _new_report = partial(tuple.__new__, State), partial(tuple.__new__, Report)


def _identify(
    body: bytes, envelope: Envelope, reported_at: datetime | None
) -> tuple[datetime, datetime, datetime, bytes, bytes | None]:
    """Tell what says when a report was made, and which it is: `reported_at` to `receipt` of `Report`."""
    received_at = envelope.received_at
    if reported_at is None:
        return (received_at, received_at, received_at, *_identify_undated(body, envelope))
    heard_at = min(reported_at, received_at) if envelope.waiting else received_at
    return reported_at, received_at, heard_at, blake2b(body, digest_size=16).digest(), None


def _read_id(document: dict[str, Any], replaced: bool) -> str:
    value = document.get("id")
    if type(value) is int:
        return _decimal_id(value)
    if value is None:
        raise Rejection("missing_device_id", "id: null" if "id" in document else "id: missing")
    if type(value) is not str:
        raise Rejection("bad_device_id", f"id: {jsontext.describe(value)} where text is expected")
    device_id = value.strip(BLANKS)
    if not device_id:
        raise Rejection("missing_device_id", "id: blank")
    if not (device_id.isascii() and device_id.isprintable()):
        device_id = _judge_unusual_id(device_id, replaced)
    if len(device_id) > DEVICE_ID_LENGTH:
        raise Rejection("bad_device_id", f"id: {len(device_id)} characters, more than {DEVICE_ID_LENGTH}")
    return device_id


def _decimal_id(number: int) -> str:
    if abs(number) >= 10**DEVICE_ID_LENGTH or len(str(number)) > DEVICE_ID_LENGTH:
        raise Rejection("bad_device_id", f"id: an integer of more than {DEVICE_ID_LENGTH} digits")
    return str(number)


def _judge_unusual_id(device_id: str, replaced: bool) -> str:
    """Normalize an id that is not plain ASCII, and refuse it where two that look alike could differ."""
    if len(device_id) > _MAX_UNNORMALIZED_LENGTH:
        return device_id
    if replaced and "\ufffd" in device_id:
        raise Rejection("bad_device_id", "id: invalid UTF-8")
    hidden = (position for position, char in enumerate(device_id) if is_hidden(char) and not is_private(char))
    position = next(hidden, None)
    if position is not None:
        what = f"control, bidi, zero-width or unassigned character U+{ord(device_id[position]):04X}"
        raise Rejection("bad_device_id", f"id: {what} at position {position}")
    return unicodedata.normalize("NFC", device_id)


def _read_time(document: dict[str, Any], envelope: Envelope, warnings: list[str]) -> datetime | None:
    """Find the first plausible of the times that the device gave."""
    value = document.get("timestamp")
    if value is not None:
        instant = _read_timestamp(value, envelope, warnings)
        if instant is not None:
            return instant
    if envelope.headers:
        instant = _header_time(envelope.headers.get("timestamp_in_ms"))
        if instant is not None and _is_plausible(instant, envelope):
            return instant
    if type(envelope.timestamp) is int:
        instant = instants.from_epoch(envelope.timestamp)
        if instant is not None and _is_plausible(instant, envelope):
            return instant
    return None


def _read_timestamp(value: object, envelope: Envelope, warnings: list[str]) -> datetime | None:
    problems: list[str] = []
    instant = instants.read(value, problems)
    if instant is not None and not _is_plausible(instant, envelope):
        problems.append(f"{instant.isoformat()} is before 2020 or more than 5 minutes after it was received")
        instant = None
    if problems:
        columns.warn("timestamp", problems, warnings)
    return instant


def _header_time(value: object) -> datetime | None:
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    return instants.from_epoch_ms(value) if type(value) is int else None


def _is_plausible(instant: datetime, envelope: Envelope) -> bool:
    received_at = envelope.received_at
    return instant >= EARLIEST_PLAUSIBLE and (instant <= received_at or instant <= received_at + PLAUSIBLE_CLOCK_SKEW)


def _identify_undated(body: bytes, envelope: Envelope) -> tuple[bytes, bytes | None]:
    """Make digest and receipt of a report without a time: by its `message_id`, else by what only this delivery has."""
    if envelope.message_id:
        digest = _digest(b"message_id", _octets(envelope.message_id), body)
        return digest, digest
    return _digest(b"delivery_key", envelope.delivery_key, body), None


def _digest(kind: bytes, key: bytes, body: bytes) -> bytes:
    # With the length before it, no key can pass for the beginning of another's body.
    return blake2b(len(key).to_bytes(8, "big") + key + body, digest_size=16, person=kind).digest()


def _octets(message_id: object) -> bytes:
    if isinstance(message_id, bytes):
        return message_id
    return str(message_id).encode("utf-8", "surrogatepass")


def _warn_of_replacements(document: dict[str, Any], warnings: list[str]) -> None:
    for key, value in document.items():
        if "\ufffd" in key or "\ufffd" in json.dumps(value, ensure_ascii=False):
            columns.warn(key, ["invalid UTF-8, U+FFFD in its place"], warnings)
        if len(warnings) > columns.MAX_WARNINGS:
            return
