"""A session that acks nothing but remembers what it should have, and deliveries that came on it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timezone

from rpi_health.delivery import Delivery, Properties

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
_tokens = itertools.count(1)


class RememberingSession:
    """What settles deliveries.

    Args:
        events: where it notes each call, beside what others note there.
    """

    def __init__(self, events: list[str] | None = None) -> None:
        self.token = next(_tokens).to_bytes(8, "big")
        self.is_open = True
        self.settled: list[int] = []
        self._events = [] if events is None else events

    def settle(self, tags: Sequence[int]) -> None:
        self.settled += tags
        self._events.append("settled")


def delivery(session: RememberingSession, tag: int, body: bytes = b"", *, redelivered: bool = False) -> Delivery:
    """A delivery; without a body, a report that no other one equals."""
    body = body or b'{"id": "pi-%d"}' % tag
    return Delivery(session, tag, redelivered, redelivered, NOON, Properties(), body)


def tags(deliveries: Sequence[Delivery]) -> list[int]:
    return [each.tag for each in deliveries]
