"""One channel's life as a consumer: its deliveries, and the acks that are valid on it and nowhere else."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Any

import pika
from pika import exceptions as pika_errors

from rpi_health import errors
from rpi_health.broker.fast_lane import FastConnection, Lane
from rpi_health.broker.ledger import Ledger
from rpi_health.broker.wire import properties_of
from rpi_health.delivery import Delivery, Properties

#: The prefetch counts messages, whatever their size: with so many bytes of them unsettled, no more are received.
MAX_UNSETTLED_BYTES = 64 * 1024 * 1024


class Session:
    """Consumes one queue from creation until it is closed or lost. Tags restart at 1 with each session.

    `settle`, `wake` and `is_open` are for any thread; all else is for the thread that owns the connection.
    """

    def __init__(
        self,
        connection: pika.BlockingConnection,
        lanes: FastConnection | None,
        queue: str,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        translated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.token = os.urandom(8)
        self._connection = connection
        self._queue = queue
        self._deliver = deliver
        self._translated = translated
        self._ledger = Ledger()
        self._delivered = 0
        self._sizes: dict[int, int] = {}
        self._unsettled_bytes = 0
        self._to_settle: deque[Sequence[int]] = deque()
        self._has_to_settle = threading.Event()
        self._taking = True
        #: What comes before the caller of `open_session` knows of the session; None from then on.
        self._early: list[tuple[int, bool, Properties, bytes, int]] | None = []
        self._cancelled_by_broker = False
        self._closed = False
        self._channel = connection.channel()
        self._channel.add_on_cancel_callback(self._on_cancelled)
        self._channel.basic_qos(prefetch_count=prefetch)
        # What is ready now was sent before we listened; what comes after it was sent while we did.
        self._waiting = self._count_ready()
        self._consumer_tag = f"rpi-health-{self.token.hex()}"
        if lanes is not None:
            lanes.open_lane(self._channel.channel_number, Lane(self._consumer_tag, self._on_delivery))
        self._channel.basic_consume(queue, self._on_message, consumer_tag=self._consumer_tag)
        self._call_soon(self._deliver_early)

    @property
    def is_open(self) -> bool:
        """Whether acks still reach the broker."""
        return not self._closed and bool(self._channel.is_open)

    @property
    def delivered(self) -> int:
        """How many deliveries came on this session."""
        return self._delivered

    @property
    def settled(self) -> int:
        """How many of them were acked."""
        return self._ledger.settled

    def settle(self, tags: Sequence[int]) -> None:
        """Ack these tags (ascending) soon. Those of a session that is gone are dropped."""
        self._to_settle.append(tags)
        self._has_to_settle.set()
        self._call_soon(self._send_acks)

    def check(self) -> None:
        """Raise `BrokerUnavailable` if this session has ended: a queue that was deleted just stops delivering."""
        if self._cancelled_by_broker:
            raise errors.BrokerUnavailable(f"The broker cancelled the consumer of queue {self._queue}: was it deleted?")
        if not self.is_open:
            # Private to pika, and the only place where it keeps what the broker said.
            reason = getattr(getattr(self._channel, "_closing_reason", None), "reply_text", "no reason given")
            raise errors.BrokerUnavailable(f"The broker closed the channel that consumed queue {self._queue}: {reason}")

    @property
    def waiting(self) -> int:
        """How many messages waited in the queue when this session began to consume it."""
        return self._waiting

    def ask_ready(self, answer: Callable[[int], None]) -> None:
        """Ask how many messages wait; `answer` is called with that from within `process`, when the broker has said."""
        with self._translated():
            if self.is_open:
                # pika's blocking channel has no way to ask without waiting for the answer; the one inside it has.
                blocking: Any = self._channel
                blocking._impl.queue_declare(
                    self._queue, passive=True, callback=lambda frame: answer(int(frame.method.message_count))
                )

    def count_ready(self) -> int:
        """How many messages wait in the queue, besides those that are delivered and unsettled somewhere."""
        with self._translated():
            return self._count_ready()

    @property
    def is_full(self) -> bool:
        """Whether so many bytes are unsettled that no more should be received."""
        return self._unsettled_bytes > MAX_UNSETTLED_BYTES

    def wait_for_room(self, time_limit_s: float) -> None:
        """While full, wait until something is settled, or for so long: meanwhile nothing is received or sent."""
        if self.is_full:
            self._has_to_settle.wait(time_limit_s)

    def wake(self) -> None:
        """Make `wait_for_room` return soon. Any thread may call it."""
        self._has_to_settle.set()

    def stop_taking(self) -> None:
        """Have the broker send no more. What was delivered can still be settled; what is under way goes back."""
        self._taking = False
        with self._translated():
            if self.is_open and not self._cancelled_by_broker:
                self._channel.basic_cancel(self._consumer_tag)

    def close(self) -> None:
        """Send the acks that are due and close the channel; what is unsettled goes back to the queue.

        Returns when the broker has confirmed the close, and with it every ack before. Never raises.
        """
        self._taking = False
        with contextlib.suppress(Exception):
            if self.is_open:
                self._send_acks()
                self._channel.close()
        self.abandon()

    def abandon(self) -> None:
        """Note that the session is lost. Its acks are dropped from now on: on another channel they would ack others."""
        self._closed = True
        self._taking = False

    def _call_soon(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(pika_errors.ConnectionWrongStateError):
            self._connection.add_callback_threadsafe(callback)

    def _send_acks(self) -> None:
        self._has_to_settle.clear()
        while self._to_settle and self.is_open:
            tags = self._to_settle.popleft()
            self._unsettled_bytes -= sum(map(self._sizes.pop, tags))
            for tag, multiple in self._ledger.settle(tags):
                self._channel.basic_ack(tag, multiple)

    def _count_ready(self) -> int:
        return int(self._channel.queue_declare(self._queue, passive=True).method.message_count)

    def _on_message(self, _channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        # How large its header was, pika does not tell.
        self._on_delivery(method.delivery_tag, method.redelivered, properties_of(properties), body, len(body))

    def _on_delivery(self, tag: int, redelivered: bool, properties: Properties, body: bytes, size: int) -> None:
        if not self._taking:
            return
        if self._early is not None:
            self._early.append((tag, redelivered, properties, body, size))
            return
        self._delivered = tag
        self._sizes[tag] = size
        self._unsettled_bytes += size
        if self.is_full:
            self._call_soon(lambda: None)  # ends the receiving that is under way
        waiting = redelivered or tag <= self._waiting
        received_at = datetime.now(timezone.utc)
        self._deliver(Delivery(self, tag, redelivered, waiting, received_at, properties, body))

    def _deliver_early(self) -> None:
        early, self._early = self._early or [], None
        for delivery in early:
            self._on_delivery(*delivery)

    def _on_cancelled(self, _frame: Any) -> None:
        self._cancelled_by_broker = True
