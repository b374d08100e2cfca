"""A real connection of pika's without a socket, what it is fed, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pika
from pika import frame, spec
from pika.adapters.utils.nbio_interface import AbstractStreamProtocol, AbstractStreamTransport

from rpi_health.broker.fast_lane import FastConnection, Lane
from rpi_health.broker.wire import properties_of
from rpi_health.delivery import Properties
from tests.peer import Peer

#: Consumers on channel 1: the one whose deliveries a lane takes if there is one, another, one that is about to leave
#: and one that is about to come; and a consumer on channel 2.
OURS, OTHER, LEAVING, COMING, ELSEWHERE = "ours", "other", "leaving", "coming", "elsewhere"
#: A message with this body is taken, and then its callback is interrupted.
INTERRUPTING = b"interrupting"


class Interrupted(BaseException):
    """What a signal handler may raise anywhere."""


class Outcome(NamedTuple):
    """What a client made of what it was fed.

    Args:
        events: methods without content, heartbeats, and messages that were delivered or returned, in their order.
        bytes_received: of the frames that were complete.
        leftover: what there is of a frame that is not complete.
        sent: what the client said.
        trouble: the exception that ends the connection: pika's transport turns each into a lost one.
    """

    events: list[tuple[Any, ...]]
    bytes_received: int
    frames_received: int
    heartbeats: int
    leftover: bytes
    sent: bytes
    trouble: Exception | None = None

    @property
    def bodies(self) -> list[bytes]:
        """Those of the messages, in their order."""
        return [event[-1] for event in self.events if isinstance(event[-1], bytes)]


class Client:
    """An open connection with consumers on two channels.

    Args:
        base: pika's own class, or `FastConnection`, with a lane for the consumer `OURS`.
    """

    def __init__(self, base: type[pika.SelectConnection]) -> None:
        self.has_lane = issubclass(base, FastConnection)
        self._events: list[tuple[Any, ...]] = []
        self._transport = _MemoryTransport()
        self._peer = Peer()
        watched = type(f"Watched{base.__name__}", (_Watched, base), {"events": self._events})
        self._connection: Any = watched(pika.ConnectionParameters(), internal_connection_workflow=False)
        self._connection._proto_connection_made(self._transport)
        self.converse()
        self._connection.add_on_connection_blocked_callback(lambda *_: self._events.append(("blocked",)))
        self.channels = [self.open_channel(), self.open_channel()]
        if self.has_lane:
            self._connection.open_lane(1, Lane(OURS, self._on_delivery))
        self._consume()
        self._received_before = (0, 0)
        self._take_outcome()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.ioloop.close()

    def open_channel(self) -> Any:
        """A channel with the lowest number that is free."""
        channel = self._connection.channel(on_open_callback=lambda _: None)
        channel.add_on_return_callback(self._on_content)
        self.converse()
        return channel

    def converse(self) -> None:
        """Have all answered that the client says."""
        while sent := self._transport.take():
            if answer := self._peer.answer(sent):
                self._connection._proto_data_received(answer)

    def feed(self, *chunks: bytes) -> Outcome:
        """Receive these bytes, one read from the socket each. Returns what came of them."""
        trouble = None
        try:
            for chunk in chunks:
                self._connection._proto_data_received(chunk)
        except Exception as error:
            trouble = error
        return self._take_outcome()._replace(trouble=trouble)

    def _consume(self) -> None:
        first, second = self.channels
        first.confirm_delivery(lambda confirmed: self._events.append(("confirmed", repr(confirmed.method))))
        for channel, consumer in ((first, OURS), (first, OTHER), (first, LEAVING), (second, ELSEWHERE)):
            channel.basic_consume("queue", self._on_content, consumer_tag=consumer)
        self.converse()
        # The answers to these are for the test to feed.
        first.basic_cancel(LEAVING, lambda _: self._events.append(("has left",)))
        first.basic_consume("queue", self._on_content, consumer_tag=COMING)

    def _on_content(self, _channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        assert not (self.has_lane and getattr(method, "consumer_tag", "") == OURS), "it came by pika"
        self._note(method, properties_of(properties), body)

    def _on_delivery(self, tag: int, redelivered: bool, properties: Properties, body: bytes, size: int) -> None:
        assert size >= len(body)
        self._note(spec.Basic.Deliver(OURS, tag, redelivered, "exchange", "key"), properties, body)

    def _note(self, method: Any, properties: Properties, body: bytes) -> None:
        # As text: what is not a number is not equal to itself.
        self._events.append((repr(method), repr(properties), body))
        if body == INTERRUPTING:
            raise Interrupted

    def _take_outcome(self) -> Outcome:
        connection, checker = self._connection, self._connection._heartbeat_checker
        received = (connection.bytes_received, connection.frames_received)
        bytes_received, frames_received = (now - before for now, before in zip(received, self._received_before))
        self._received_before = received
        outcome = Outcome(
            list(self._events),
            bytes_received,
            frames_received,
            checker._heartbeat_frames_received if checker else 0,
            connection._frame_buffer,
            self._transport.take(),
        )
        self._events.clear()
        return outcome


def receive(base: type[pika.SelectConnection], chunks: Iterable[bytes]) -> Outcome:
    """What a new client makes of these bytes. See `Client`."""
    with Client(base) as client:
        return client.feed(*chunks)


class _Watched(pika.SelectConnection):
    """Notes what reaches pika, but for the frames of messages."""

    events: list[tuple[Any, ...]]

    def _process_frame(self, frame_value: Any) -> None:
        method = getattr(frame_value, "method", None)
        is_content = isinstance(frame_value, (frame.Header, frame.Body)) or (method and spec.has_content(method.INDEX))
        if not is_content:
            self.events.append((frame_value.channel_number, repr(method)))
        super()._process_frame(frame_value)


class _MemoryTransport(AbstractStreamTransport):
    """Keeps what is sent."""

    def __init__(self) -> None:
        self._sent = b""

    def take(self) -> bytes:
        """What was sent since the last time."""
        sent, self._sent = self._sent, b""
        return sent

    def write(self, data: bytes) -> None:
        self._sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        """The connection is lost some time later; for the test, it is when nothing is fed any more."""

    def get_protocol(self) -> AbstractStreamProtocol:
        raise NotImplementedError
