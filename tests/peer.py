"""A broker's side of a connection: frames as they are on the wire, and the answers that a client waits for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from pika import amqp_object, frame, spec

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
BASIC = 60
_TIMEOUT_S, _TICK_S = 10, 0.01
#: No property, as it is in a header.
NO_PROPERTIES = b"\x00\x00"


def make_frame(kind: int, channel: int, payload: bytes = b"", end: int = 0xCE) -> bytes:
    """A frame around a payload."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


def make_method(channel: int, method: amqp_object.Method) -> bytes:
    """The frame of a method."""
    return bytes(frame.Method(channel, method).marshal())


def make_header(channel: int, size: int, properties: bytes = NO_PROPERTIES, content_class: int = BASIC) -> bytes:
    """The frame that announces so many bytes of body, with properties that are encoded already."""
    return make_frame(HEADER, channel, struct.pack(">HHQ", content_class, 0, size) + properties)


def make_content(
    channel: int,
    method: amqp_object.Method,
    body: bytes = b"",
    properties: bytes = NO_PROPERTIES,
    cuts: Iterable[int] = (),
) -> list[bytes]:
    """The frames of a message: its method, its header, and its body cut at these places."""
    ends = sorted({*(cut for cut in cuts if 0 < cut < len(body)), *([len(body)] if body else [])})
    parts = [body[start:end] for start, end in zip([0, *ends], ends)]
    frames = [make_method(channel, method), make_header(channel, len(body), properties)]
    return [*frames, *(make_frame(BODY, channel, part) for part in parts)]


def make_deliver(consumer: str, tag: int, *, redelivered: bool = False, key: str = "key") -> spec.Basic.Deliver:
    """The method that begins a delivery."""
    return spec.Basic.Deliver(consumer, tag, redelivered, "exchange", key)


_CAPABILITIES = {"basic.nack": True, "consumer_cancel_notify": True, "publisher_confirms": True}
_START = spec.Connection.Start(0, 9, {"capabilities": _CAPABILITIES}, "PLAIN", "en_US")
_ANSWERS: dict[type, Callable[[Any], amqp_object.Method]] = {
    spec.Connection.StartOk: lambda _: spec.Connection.Tune(2047, 131_072, 60),
    spec.Connection.Open: lambda _: spec.Connection.OpenOk(),
    spec.Connection.Close: lambda _: spec.Connection.CloseOk(),
    spec.Channel.Open: lambda _: spec.Channel.OpenOk(),
    spec.Channel.Close: lambda _: spec.Channel.CloseOk(),
    spec.Queue.Declare: lambda sent: spec.Queue.DeclareOk(sent.queue, 0, 0),
    spec.Basic.Qos: lambda _: spec.Basic.QosOk(),
    spec.Basic.Consume: lambda sent: spec.Basic.ConsumeOk(sent.consumer_tag),
    spec.Basic.Cancel: lambda sent: spec.Basic.CancelOk(sent.consumer_tag),
}


class Peer:
    """Answers a client as a broker does."""

    def __init__(self) -> None:
        self._sent = b""
        #: The methods that came from the client.
        self.received: list[amqp_object.Method] = []

    def answer(self, sent: bytes) -> bytes:
        """The answers to what a client has sent, to all of it that is complete."""
        self._sent += sent
        answers = []
        while self._sent:
            size, received = frame.decode_frame(self._sent)
            if received is None:
                break
            self._sent = self._sent[size:]
            answers.append(self._answer(received))
        return b"".join(answers)

    def _answer(self, received: Any) -> bytes:
        if isinstance(received, frame.ProtocolHeader):
            return make_method(0, _START)
        if not isinstance(received, frame.Method):
            return b""
        self.received.append(received.method)
        if type(received.method) not in _ANSWERS:
            return b""
        return make_method(received.channel_number, _ANSWERS[type(received.method)](received.method))


class ListeningPeer:
    """A peer with a socket, for one client. What a test sends comes between the answers.

    Args:
        tls: encrypts; none by default.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_TIMEOUT_S)
        self.port: int = self._listener.getsockname()[1]
        self._peer = Peer()
        self._to_send: deque[bytes] = deque()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> ListeningPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(2 * _TIMEOUT_S)
        self._listener.close()
        assert not self._thread.is_alive(), "the client is still connected"

    def has_received(self, method: type[amqp_object.Method]) -> bool:
        """Whether the client has sent such a method."""
        return any(isinstance(each, method) for each in self._peer.received)

    def send(self, data: bytes) -> None:
        """Send something to the client, before the answer to whatever it says from now on."""
        self._to_send.append(data)

    def _serve(self) -> None:
        # A client that is gone is for the test to judge.
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            with client:
                self._converse(client)

    def _converse(self, client: socket.socket) -> None:
        # On one thread only: an encrypted socket is not for two.
        sent: bytes | None = None
        while sent != b"":
            client.settimeout(_TICK_S)
            try:
                sent = client.recv(4096)
            except TimeoutError:
                sent = None
            client.settimeout(_TIMEOUT_S)
            while self._to_send:
                client.sendall(self._to_send.popleft())
            client.sendall(self._peer.answer(sent or b""))
