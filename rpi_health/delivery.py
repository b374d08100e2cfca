"""The nouns between the broker and the consumer: a delivery, its AMQP properties, and whom to tell when it is settled.

Named tuples, like those in `report`: one of each is made for every message. No pika object is in them.
"""

from __future__ import annotations

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
