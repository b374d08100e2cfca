"""Publishing with confirms, many in flight at a time. One `Publication` is one connection, from open to close."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pika
from pika import exceptions as pika_errors

from rpi_health import errors
from rpi_health.broker import wire
from rpi_health.broker.faults import translate
from rpi_health.delivery import Properties

_WINDOW = 1000
_NOT_FOUND = 404
_TICK_S = 0.01


class Outgoing(NamedTuple):
    """A message to publish.

    Args:
        body: as it goes out.
        properties: what to copy; the message is made persistent.
        own_headers: headers to add.
    """

    body: bytes
    properties: Properties = Properties()
    own_headers: Mapping[str, Any] = {}


class Outcome(NamedTuple):
    """What became of a publication.

    Args:
        published: how many messages were handed to the broker.
        failed: the positions of those that it did not take responsibility for; they may be published again.
        error: what ended the publication early, or why some were not taken; None when all were confirmed.
    """

    published: int
    failed: frozenset[int]
    error: errors.BrokerError | None

    @property
    def confirmed(self) -> int:
        """How many messages the broker took responsibility for."""
        return self.published - len(self.failed)


class Publication:
    """Publishes messages to one queue and collects the confirms, in pika's event loop, on the calling thread.

    The flow: connection opens → channel opens → queue is there → confirms are on → messages go out while fewer than
    the window are unconfirmed → all are settled → connection closes.
    """

    def __init__(
        self,
        queue: str,
        queue_arguments: Mapping[str, Any] | None,
        messages: Iterable[Outgoing],
        per_second: float | None,
        on_confirmed: Callable[[int], None] | None,
    ) -> None:
        self._queue = queue
        self._queue_arguments = dict(queue_arguments or {}) or None
        self._messages = iter(messages)
        self._per_second = per_second
        self._on_confirmed = on_confirmed or (lambda _count: None)
        self._opened = self._exhausted = self._queue_is_missing = False
        self._published = self._returned = 0
        self._unsettled: dict[int, None] = {}
        self._nacked: set[int] = set()
        self._error: BaseException | None = None

    def run(self, parameters: pika.URLParameters, url: str) -> Outcome:
        """Publish until all is settled or the connection is lost.

        Raises:
            BrokerRefused, BrokerUnavailable: nothing could be published.
        """
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._find_queue),
            on_open_error_callback=self._on_ended,
            on_close_callback=self._on_ended,
        )
        try:
            self._connection.ioloop.start()
        except Exception as error:  # anything may come out of pika after a lost stream
            self._error = self._error or error
        finally:
            self._connection.ioloop.close()
        trouble = translate(self._error, url) if self._error is not None else self._refusal()
        if not self._opened:
            raise trouble or errors.BrokerUnavailable("The broker closed the connection before anything was published.")
        return Outcome(self._published, self._failed(), trouble)

    def _failed(self) -> frozenset[int]:
        # Tags count from 1. A return names no message: the queue is gone, and with it what went into it before.
        tags = range(1, self._published + 1) if self._returned else (*self._nacked, *self._unsettled)
        return frozenset(tag - 1 for tag in tags)

    def _refusal(self) -> errors.BrokerError | None:
        if self._returned:
            return errors.BrokerUnavailable(f"Queue {self._queue} was deleted while messages were published to it.")
        if self._nacked:
            return errors.BrokerUnavailable(
                f"The broker did not take {len(self._nacked)} messages, as it does when queue {self._queue} is full."
            )
        return None

    def _on_ended(self, connection: Any, error: BaseException) -> None:
        if not isinstance(error, pika_errors.ConnectionClosedByClient):
            self._error = self._error or error
        connection.ioloop.stop()

    def _find_queue(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.queue_declare(self._queue, passive=True, callback=lambda _frame: self._turn_confirms_on(channel))

    def _declare_queue(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        self._queue_is_missing = True
        channel.queue_declare(
            self._queue,
            durable=True,
            arguments=self._queue_arguments,
            callback=lambda _frame: self._turn_confirms_on(channel),
        )

    def _on_channel_closed(self, _channel: Any, error: BaseException) -> None:
        if getattr(error, "reply_code", None) == _NOT_FOUND and not self._queue_is_missing:
            self._connection.channel(on_open_callback=self._declare_queue)
        elif not isinstance(error, pika_errors.ChannelClosedByClient):
            self._error = self._error or error
            self._close()

    def _turn_confirms_on(self, channel: Any) -> None:
        self._opened = True
        channel.add_on_return_callback(self._on_returned)
        channel.confirm_delivery(self._on_settled, callback=lambda _frame: self._start(channel))

    def _start(self, channel: Any) -> None:
        self._channel = channel
        self._started = time.monotonic()
        self._pump() if self._per_second is None else self._tick()

    def _pump(self) -> None:
        while not self._exhausted and len(self._unsettled) < _WINDOW and self._published < self._due():
            message = next(self._messages, None)
            if message is None:
                self._exhausted = True
                break
            properties = wire.basic_properties(message.properties, message.own_headers)
            self._channel.basic_publish("", self._queue, message.body, properties, mandatory=True)
            self._published += 1
            self._unsettled[self._published] = None
        if self._exhausted and not self._unsettled:
            self._close()

    def _due(self) -> float:
        """How many messages may have been published by now, so that the rate is kept."""
        if self._per_second is None:
            return math.inf
        return 1 + (time.monotonic() - self._started) * self._per_second

    def _tick(self) -> None:
        self._pump()
        if not self._exhausted:
            self._connection.ioloop.call_later(_TICK_S, self._tick)

    def _on_settled(self, frame: Any) -> None:
        tags = self._settled_by(frame.method.delivery_tag, frame.method.multiple)
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._nacked.update(tags)
        else:
            self._on_confirmed(len(tags))
        self._pump()

    def _settled_by(self, tag: int, multiple: bool) -> list[int]:
        # In order of publishing, so that all up to a tag are at the front.
        tags = list(itertools.takewhile(lambda unsettled: unsettled <= tag, self._unsettled)) if multiple else [tag]
        for settled in tags:
            del self._unsettled[settled]
        return tags

    def _on_returned(self, _channel: Any, _method: Any, _properties: Any, _body: bytes) -> None:
        self._returned += 1

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()
