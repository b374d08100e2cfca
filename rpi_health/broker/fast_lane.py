"""Deliveries straight off the receive buffer: what a consumer needs of three frames, and no object for each of them.

pika decodes a delivery in about 45 µs, which is most of what storing it costs; here it takes a tenth. All frames but
those of a consumer's deliveries go through pika as usual. Knows the frames of AMQP 0-9-1
(https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 2.3.5 and 4.2) and the few names of pika's that it leans on;
where those are not what it knows, it is not used.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any

import pika
from pika import exceptions as pika_errors

from rpi_health import events
from rpi_health.broker.wire import decode_properties
from rpi_health.delivery import Properties

#: Takes a delivery: its tag, whether it is redelivered, its properties, its body, and how many bytes it may take.
Sink = Callable[[int, bool, Properties, bytes, int], None]

_METHOD, _HEADER, _BODY = 1, 2, 3
_FRAME_END = 0xCE
_FRAME = struct.Struct(">BHI")  # kind, channel, size of the payload
_OVERHEAD = _FRAME.size + 1
_RECEIVE_BYTES = 65_536
_BASIC = 60
_DELIVER = b"\x00\x3c\x00\x3c"  # class basic, method deliver
_WITH_CONTENT = (_DELIVER, b"\x00\x3c\x00\x32", b"\x00\x3c\x00\x47")  # and basic.return, basic.get-ok
_TAG = struct.Struct(">QB")  # delivery tag, and a byte whose first bit says that it is redelivered
_CONTENT = struct.Struct(">HHQ")  # class, weight, size of the body
_NO_HEADER = -1  # less than any body can lack
_GROWTH = 20  # decoded, the most wasteful header table takes so many times its size

_frame_at, _tag_at, _content_at = _FRAME.unpack_from, _TAG.unpack_from, _CONTENT.unpack_from


class Lane:
    """Puts the deliveries of one consumer together from their frames.

    Frames that are out of order within a delivery, which pika would put together somehow, are an error: a body must
    not come under the tag of another.

    Args:
        consumer_tag: of the consumer. Deliveries of others are left to pika.
        sink: takes the deliveries. It must not receive on the connection itself.
    """

    def __init__(self, consumer_tag: str, sink: Sink) -> None:
        name = consumer_tag.encode()
        self._begins_with = _DELIVER + bytes([len(name)]) + name
        self._sink = sink
        self._tag: tuple[int, int] | None = None
        self._properties = Properties()
        self._size = 0
        self._missing = _NO_HEADER
        self._parts: list[bytes] = []

    def take(self, kind: int, buffer: bytes, start: int, end: int) -> bool:
        """Take a frame's payload, `buffer[start:end]`, if it belongs to a delivery of this consumer; else say no."""
        if kind == _METHOD:
            return self._begin(buffer, start, end)
        if self._tag is None:
            return False
        if kind == _BODY:
            self._parts.append(buffer[start:end])
            self._missing -= end - start
            if self._missing < 0:
                raise pika_errors.UnexpectedFrameError("a body that is too long, or has no header")
        elif kind == _HEADER:
            self._read_header(buffer, start, end)
        else:
            return False
        if self._missing == 0:
            self._complete()
        return True

    def _begin(self, buffer: bytes, start: int, end: int) -> bool:
        is_ours = buffer.startswith(self._begins_with, start, end)
        if not is_ours and buffer[start : start + len(_DELIVER)] not in _WITH_CONTENT:
            return False
        if self._tag is not None:
            raise pika_errors.UnexpectedFrameError("a message within another")
        tag_start = start + len(self._begins_with)
        exchange = tag_start + _TAG.size
        # One that is cut short is for pika to refuse. The last byte that it needs tells how long the routing key is.
        if not is_ours or exchange > end or exchange + 1 + buffer[exchange] >= end:
            return False
        self._tag, self._missing = _tag_at(buffer, tag_start), _NO_HEADER
        return True

    def _read_header(self, buffer: bytes, start: int, end: int) -> None:
        properties = start + _CONTENT.size
        if self._missing != _NO_HEADER or properties + 2 > end:
            raise pika_errors.UnexpectedFrameError("a header that is cut short, or one too many")
        content_class, _, self._missing = _content_at(buffer, start)
        if content_class != _BASIC:
            raise pika_errors.UnexpectedFrameError("the header of another class")
        self._properties = decode_properties(buffer[properties:end])
        self._size = self._missing + _GROWTH * (end - properties)

    def _complete(self) -> None:
        tag, flags = self._tag or (0, 0)
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._tag, self._parts = None, []
        self._sink(tag, bool(flags & 1), self._properties, body, self._size)


class FastConnection(pika.SelectConnection):
    """pika's connection, with lanes for the consumers that want one. For the thread that runs its I/O."""

    # pika's own: what is received of a frame that is not complete, and what it tells a silent broker by.
    _frame_buffer: bytes
    bytes_received: int
    frames_received: int
    _transport: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        self._lanes: dict[int, Lane] = {}
        super().__init__(*args, **options)

    def open_lane(self, channel: int, lane: Lane) -> None:
        """Take the deliveries on a channel by this lane until the channel is closed.

        To be called before its consumer is registered.
        """
        self._lanes[channel] = lane
        # pika asks the system for 4096 bytes at a time, ten deliveries.
        self._transport._MAX_RECV_BYTES = _RECEIVE_BYTES

    def _on_channel_cleanup(self, channel: Any) -> None:
        # Not before: of a delivery that has begun in the lane, pika could make nothing. Not later: the number is free.
        self._lanes.pop(channel.channel_number, None)
        super()._on_channel_cleanup(channel)  # type: ignore[misc]

    def _on_data_available(self, data_in: bytes) -> None:
        if not self._lanes:
            super()._on_data_available(data_in)  # type: ignore[misc]
            return
        buffer, self._frame_buffer = self._frame_buffer + data_in, b""
        start, available = 0, len(buffer)
        try:
            while available - start >= _OVERHEAD:
                frame, payload = start, start + _FRAME.size
                kind, channel, size = _frame_at(buffer, frame)
                end = payload + size
                if end >= available:
                    break
                start = end + 1
                lane = self._lanes.get(channel)
                if lane is not None and buffer[end] == _FRAME_END and lane.take(kind, buffer, payload, end):
                    self.bytes_received += start - frame
                    self.frames_received += 1
                else:
                    super()._on_data_available(buffer[frame:start])  # type: ignore[misc]
        finally:
            # Whatever a callback raises, what comes next must be read from where a frame begins.
            self._frame_buffer += buffer[start:]


def connect(parameters: pika.URLParameters) -> pika.BlockingConnection:
    """pika's blocking connection, on a `FastConnection` if that knows the installed pika."""
    if connection_class() is pika.SelectConnection:
        return pika.BlockingConnection(parameters)
    implementation: Any = FastConnection
    return pika.BlockingConnection(parameters, _impl_class=implementation)


@functools.cache
def connection_class() -> type[pika.SelectConnection]:
    """What connections are made of: `FastConnection` if it knows the installed pika, else pika's own class."""
    if is_known():
        return FastConnection
    events.Log(__name__).say(events.FAST_LANE_OFF, pika=pika.__version__)
    return pika.SelectConnection


def is_known() -> bool:
    """Whether the installed pika is built as `FastConnection` has to know it; 1.3.2 and 1.4 are.

    Told by the names in the code of the functions that it replaces or relies on.
    """
    connection = pika.SelectConnection
    return (
        _names_in(connection, "_proto_data_received") == {"_on_data_available"}
        and _names_in(connection, "_on_data_available")
        == {"_frame_buffer", "_read_frame", "_trim_frame_buffer", "_process_frame"}
        and _names_in(connection, "_trim_frame_buffer") == {"_frame_buffer", "bytes_received"}
        and "frames_received" in _names_in(connection, "_process_frame")
        and "_on_channel_cleanup" in _names_in(connection, "_add_channel_callbacks")
        and "_transport" in _names_in(connection, "_proto_connection_made")
        and "_impl_class" in _code_of(pika.BlockingConnection, "__init__", "co_varnames")
    )


def _names_in(owner: object, function: str) -> set[str]:
    return _code_of(owner, function, "co_names")


def _code_of(owner: object, function: str, part: str) -> set[str]:
    code = getattr(getattr(owner, function, None), "__code__", None)
    return set(getattr(code, part, ()))
