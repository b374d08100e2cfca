"""The nouns of messages: a delivery, its AMQP properties, whom to tell when it is settled, and a dead letter.

Named tuples, like those in `report`: one of each is made for every message. No pika object is in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol


class Properties(NamedTuple):
    """The AMQP basic properties that a dead letter copies: all but `user_id`, `expiration` and `delivery_mode`."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Any] | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


class Settling(Protocol):
    """The session that a delivery came on: the only one on which its tag means anything."""

    #: Bytes that no other session has.
    token: bytes

    @property
    def is_open(self) -> bool:
        """Whether a settled tag would still reach the broker. Any thread may ask."""

    def settle(self, tags: Sequence[int]) -> None:
        """Ack these tags soon, if the session still lives. Any thread may call it."""


class Delivery(NamedTuple):
    """One message, delivered once.

    Args:
        session: where to settle it.
        tag: its delivery tag on that session, from 1.
        redelivered: the broker's word that it was delivered before.
        waiting: whether it was in the queue already when the session began to consume.
        received_at: aware, UTC.
        properties: as sent.
        body: as sent.
    """

    session: Settling
    tag: int
    redelivered: bool
    waiting: bool
    received_at: datetime
    properties: Properties
    body: bytes


class Letter(NamedTuple):
    """A delivery that belongs in the dead-letter queue, and why.

    Args:
        delivery: the message, to be published verbatim and then settled.
        reason: one of `errors.REASONS`.
        detail: at most 300 characters, safe to print.
    """

    delivery: Delivery
    reason: str
    detail: str


#: A message that was sent again so often, and came back each time, is not sent again.
MOST_RETRIES = 3


class DeadLetter(NamedTuple):
    """A message in the dead-letter queue.

    Args:
        tag: its delivery tag on the channel that it was read on.
        reason: one of `errors.REASONS`; `unknown` where rpi-health did not put it there.
        detail: what was wrong.
        queue: where it came from; empty where that is not known.
        received_at: when it was received there, as the header has it; empty where that is not known.
        redelivered: whether it had been delivered before.
        retries: how often it was sent there again.
        properties: as sent, without the headers that rpi-health added.
        body: as sent.
    """

    tag: int
    reason: str
    detail: str
    queue: str
    received_at: str
    redelivered: bool
    retries: int
    properties: Properties
    body: bytes

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits, the same whenever it is looked at."""
        sent = (self.properties.message_id, self.properties.correlation_id, self.properties.timestamp)
        key = repr((self.reason, self.queue, self.received_at, sent)).encode(errors="surrogatepass")
        return hashlib.blake2b(self.body, digest_size=6, key=hashlib.blake2b(key, digest_size=16).digest()).hexdigest()
