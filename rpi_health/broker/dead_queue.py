"""The dead-letter queue, looked through one by one. What is not settled stays there when it is closed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pika
from pika import exceptions as pika_errors

from rpi_health import events
from rpi_health.broker import dead_letter
from rpi_health.broker.faults import translate
from rpi_health.broker.wire import properties_of
from rpi_health.delivery import DeadLetter

_NOT_FOUND = 404
#: Half of the limit after which RabbitMQ 4 throws a message of a quorum queue away, unless a policy says otherwise.
_MANY_DELIVERIES = 10


class DeadQueue:
    """On a connection of its own, which publishes nothing: an alarm of the broker does not stop its acks.

    Args:
        parameters: how to connect.
        url: the same as the user wrote it, for messages.
        name: of the queue. One that is missing is empty.

    Raises:
        BrokerUnavailable, BrokerRefused
    """

    def __init__(self, parameters: pika.URLParameters, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._has_warned = False
        with self._translated():
            self._connection = pika.BlockingConnection(parameters)
            self._channel = self._connection.channel()

    def letters(self) -> Iterator[DeadLetter]:
        """What is in it now, the oldest first; what comes meanwhile is left out. Once. Raises as the constructor."""
        with self._translated():
            for _ in range(self._count()):
                found: tuple[Any, Any, Any] = self._channel.basic_get(self._name)
                method, properties, body = found
                if method is None:
                    return
                letter = dead_letter.read(method.delivery_tag, properties_of(properties), body)
                self._note_deliveries(letter)
                yield letter

    def settle(self, letters: Sequence[DeadLetter]) -> None:
        """Take these out for good. Raises as the constructor."""
        with self._translated():
            for letter in letters:
                self._channel.basic_ack(letter.tag)

    def close(self) -> None:
        """Put back what is not settled. Never raises."""
        with contextlib.suppress(Exception):
            self._connection.close()

    def _note_deliveries(self, letter: DeadLetter) -> None:
        count = (letter.properties.headers or {}).get("x-delivery-count")
        if isinstance(count, int) and count >= _MANY_DELIVERIES and not self._has_warned:
            self._has_warned = True
            events.Log(__name__).say(events.MANY_DELIVERIES, queue=self._name, deliveries=count)

    def _count(self) -> int:
        try:
            return int(self._channel.queue_declare(self._name, passive=True).method.message_count)
        except pika_errors.ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            return 0

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # not only AMQPError: see `Connection`
            raise translate(error, self._url) from error
