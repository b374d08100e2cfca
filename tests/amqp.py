"""A queue of its own for a test, and what a test does to it, through a real pika and on a real broker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from tools.servers import RabbitMQ

#: A password that must be seen nowhere.
SECRET = "s3cret-canary"
PERSISTENT = pika.BasicProperties(delivery_mode=2)
TRANSACTION = 1000  # messages; RabbitMQ keeps those of an open transaction in memory


@dataclass(frozen=True)
class Amqp:
    """A queue namespace on a broker: `queue`, declared by `declare` or `publish`, and its dead-letter queue."""

    server: RabbitMQ
    queue: str

    @property
    def url(self) -> str:
        return self.server.url

    def url_by(self, port: int, **query: object) -> str:
        """The way to the broker through another port, such as a proxy's; with parameters of pika in the query."""
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return f"{self.url.replace(f':{self.server.port}/', f':{port}/')}?{words}"

    @property
    def dead_letter_queue(self) -> str:
        return f"{self.queue}.dead"

    @property
    def env(self) -> dict[str, str]:
        """The settings that lead rpi-health here."""
        return {"RPI_HEALTH_AMQP_URL": self.url, "RPI_HEALTH_QUEUE": self.queue}

    @contextlib.contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """A channel on a connection of its own: a test may kill the broker between two of them."""
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self.url))) as connection:
            yield connection.channel()

    def declare(self, queue: str | None = None, arguments: dict[str, Any] | None = None) -> None:
        """Declare a durable queue; without arguments, exactly as the producers in the field do."""
        with self.channel() as channel:
            channel.queue_declare(queue or self.queue, durable=True, arguments=arguments)

    def publish(
        self,
        bodies: Iterable[bytes | str | dict[str, Any]],
        properties: pika.BasicProperties | None = None,
        queue: str | None = None,
    ) -> int:
        """Publish to the queue, declared as producers do unless it is there. Returns how many, all of them confirmed.

        Confirmed by transactions: pika's blocking confirms would take a round trip and a disk sync for each message;
        RabbitMQ answers a commit when it would have confirmed the last message of it.

        Args:
            bodies: bytes and text as they are; anything else as JSON.
            properties: of each message; persistent and nothing else by default.
        """
        name = queue or self.queue
        pending, published = iter(bodies), 0
        with self.channel() as channel:
            _declare_if_missing(channel, name)
        with self.channel() as channel:
            channel.tx_select()
            while chunk := list(islice(pending, TRANSACTION)):
                for body in chunk:
                    channel.basic_publish("", name, _encode(body), properties or PERSISTENT)
                channel.tx_commit()
                published += len(chunk)
        return published

    def counts(self, queue: str | None = None) -> tuple[int, int]:
        """How many messages are ready, and how many are delivered and unacknowledged."""
        return self.server.queue_counts(queue or self.queue)

    def consumer_count(self) -> int:
        """How many consumers the broker sees on the queue."""
        consumers = json.loads(self.server.ctl("list_consumers", "--formatter", "json", "queue_name"))
        return sum(consumer["queue_name"] == self.queue for consumer in consumers)

    def get_all(self, queue: str | None = None) -> list[tuple[pika.BasicProperties, bytes]]:
        """Take all that is ready out of a queue, in its order. Nothing if there is no such queue."""
        name, messages = queue or self.queue, []
        with self.channel() as channel:
            try:
                while (message := channel.basic_get(name, auto_ack=True))[0] is not None:
                    messages.append((message[1], message[2]))
            except ChannelClosedByBroker as error:
                if error.reply_code != 404:
                    raise
        return messages

    def delete(self) -> None:
        """Delete both queues, if they are there."""
        with self.channel() as channel:
            for queue in (self.queue, self.dead_letter_queue):
                channel.queue_delete(queue)


def _declare_if_missing(channel: BlockingChannel, queue: str) -> None:
    connection = channel.connection
    try:
        channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise
        connection.channel().queue_declare(queue, durable=True)


def _encode(body: bytes | str | dict[str, Any]) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
