"""One connection that consumes, from open to lost. All of it but `wake` belongs to the thread that opened it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pika
from pika import exceptions as pika_errors
from pika.adapters.blocking_connection import BlockingChannel

from rpi_health import errors
from rpi_health.broker import fast_lane
from rpi_health.broker.fast_lane import FastConnection
from rpi_health.broker.faults import address, translate
from rpi_health.broker.session import Session
from rpi_health.delivery import Delivery

_NOT_FOUND = 404
_HEARTBEAT_GRACE_S = 5
_WATCH_S = 1


class Connection:
    """An AMQP connection.

    Args:
        parameters: how to connect.
        url: the same as the user wrote it, for messages.
        queue_arguments: arguments for queues that have to be declared.

    Raises:
        BrokerUnavailable, BrokerRefused
    """

    def __init__(self, parameters: pika.URLParameters, url: str, queue_arguments: Mapping[str, Any] | None) -> None:
        self._url = url
        self._queue_arguments = queue_arguments
        self._is_broken = False
        self._bytes_received = 0
        self._heard_at = time.monotonic()
        self._give_up_at = math.inf
        with self._translated():
            self._pika = fast_lane.connect(parameters)
            self._watch()

    @property
    def address(self) -> str:
        """Host, port and virtual host."""
        return address(self._url)

    def open_session(self, queue: str, prefetch: int, deliver: Callable[[Delivery], None]) -> Session:
        """Begin to consume a queue, on a channel of its own; the queue is declared if it is missing.

        Args:
            queue: its name; consumed as it is, whatever its type and arguments.
            prefetch: at most so many deliveries are unsettled at a time.
            deliver: called with each delivery, on this thread, from within `process`.

        Raises:
            BrokerUnavailable, BrokerRefused
        """
        with self._translated():
            self._ensure_queue(queue)
            lanes = self._asynchronous if isinstance(self._asynchronous, FastConnection) else None
            return Session(self._pika, lanes, queue, prefetch, deliver, self._translated)

    def process(self, time_limit_s: float) -> None:
        """Receive deliveries, send acks and heartbeats: until something happened, or for so long.

        Raises:
            BrokerUnavailable: the connection is lost. It, and each session on it, is of no more use.
        """
        with self._translated():
            self._pika.process_data_events(time_limit_s)

    def give_up_at(self, deadline: float) -> None:
        """Lose the connection at a time of the monotonic clock, also while an answer of the broker is waited for."""
        self._give_up_at = deadline

    def wake(self) -> None:
        """Make `process` return soon. Any thread may call it."""
        with contextlib.suppress(pika_errors.ConnectionWrongStateError):
            self._pika.add_callback_threadsafe(lambda: None)

    def close(self) -> None:
        """Close the connection, in good order unless it is lost. Never raises."""
        with contextlib.suppress(Exception):
            if self._is_broken:
                self._abort()
            elif self._pika.is_open:
                self._pika.close()

    def _watch(self) -> None:
        """Notice a silent broker in time, again and again, also while pika waits for an answer.

        pika looks only every heartbeat + 5 s, and so needs up to twice that.
        """
        connection = self._asynchronous
        if not connection.is_open:
            return
        now = time.monotonic()
        if connection.bytes_received != self._bytes_received:
            self._bytes_received = connection.bytes_received
            self._heard_at = now
        silence_s, heartbeat_s = now - self._heard_at, connection.params.heartbeat
        if now >= self._give_up_at or (heartbeat_s and silence_s > heartbeat_s + _HEARTBEAT_GRACE_S):
            error = pika_errors.AMQPHeartbeatTimeout(f"nothing was heard of it for {silence_s:.0f} s")
            connection._terminate_stream(error)
        else:
            connection._adapter_call_later(_WATCH_S, self._watch)

    @property
    def _asynchronous(self) -> Any:
        # Private to pika's blocking one, and the only way to its byte count, to a timer that runs while it blocks, and
        # to a close without the broker's word.
        blocking: Any = self._pika
        return blocking._impl

    def _abort(self) -> None:
        """Drop the stream without asking the broker, who may not answer."""
        if self._pika.is_open:
            self._asynchronous._terminate_stream(pika_errors.StreamLostError("given up"))
            self._pika.process_data_events(0)

    def _ensure_queue(self, queue: str) -> None:
        # Passively first: declaring a queue that has other arguments than ours is an error, using it is not.
        channel = self._pika.channel()
        try:
            channel.queue_declare(queue, passive=True)
        except pika_errors.ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            channel = self._pika.channel()
            self._declare(channel, queue)
        channel.close()

    def _declare(self, channel: BlockingChannel, queue: str) -> None:
        channel.queue_declare(queue, durable=True, arguments=dict(self._queue_arguments or {}) or None)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        # Not only AMQPError: after a lost stream pika raises ValueError and AssertionError as well.
        try:
            yield
        except errors.BrokerError:
            raise
        except Exception as error:
            self._is_broken = True
            raise translate(error, self._url) from error
