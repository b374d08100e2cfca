"""What a dead letter looks like on the wire: the message verbatim, and headers that say why it is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpi_health.broker.publisher import Outgoing
from rpi_health.delivery import MOST_RETRIES, DeadLetter, Letter, Properties
from rpi_health.version import __version__

_REASON, _DETAIL, _QUEUE = "x-rpi-health-reason", "x-rpi-health-detail", "x-rpi-health-queue"
_RECEIVED_AT, _REDELIVERED = "x-rpi-health-received-at", "x-rpi-health-redelivered"
_VERSION = "x-rpi-health-version"
#: How often a message was taken out of the dead-letter queue and sent to be consumed again.
_RETRIES = "x-rpi-health-retries"
_OWN = frozenset({_REASON, _DETAIL, _QUEUE, _RECEIVED_AT, _REDELIVERED, _VERSION, _RETRIES})


def as_outgoing(letter: Letter, queue: str) -> Outgoing:
    """The message to publish for a letter that came from this queue."""
    delivery = letter.delivery
    headers = {
        _REASON: letter.reason,
        _DETAIL: letter.detail,
        _QUEUE: queue,
        _RECEIVED_AT: delivery.received_at.isoformat(timespec="milliseconds"),
        _REDELIVERED: delivery.redelivered,
        _VERSION: __version__,
    }
    return Outgoing(delivery.body, delivery.properties, headers)


def read(tag: int, properties: Properties, body: bytes) -> DeadLetter:
    """The dead letter that a message is, whoever put it into the queue."""
    headers = properties.headers or {}
    retries = headers.get(_RETRIES)
    return DeadLetter(
        tag,
        _text(headers, _REASON) or "unknown",
        _text(headers, _DETAIL),
        _text(headers, _QUEUE),
        _text(headers, _RECEIVED_AT),
        headers.get(_REDELIVERED) is True,
        retries if isinstance(retries, int) and 0 < retries <= MOST_RETRIES else 0,  # else it is none of ours
        properties._replace(headers={name: value for name, value in headers.items() if name not in _OWN} or None),
        body,
    )


def again(letter: DeadLetter) -> Outgoing:
    """The message to publish so that it is consumed once more: as it was, with one more retry counted."""
    return Outgoing(letter.body, letter.properties, {_RETRIES: letter.retries + 1})


def as_it_was(letter: DeadLetter) -> Outgoing:
    """The message to publish so that the letter is in the dead-letter queue as it was before."""
    headers: dict[str, Any] = {
        _REASON: letter.reason,
        _DETAIL: letter.detail,
        _QUEUE: letter.queue,
        _RECEIVED_AT: letter.received_at,
        _REDELIVERED: letter.redelivered,
    }
    return Outgoing(
        letter.body, letter.properties, {**headers, **({_RETRIES: letter.retries} if letter.retries else {})}
    )


def _text(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else ""
