"""A TCP proxy that can misbehave: between a consumer and a real broker or database."""

from __future__ import annotations

import contextlib
import enum
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable
from types import TracebackType

_CHUNK = 16 * 1024
_TICK_S = 0.01
_TIMEOUT_S = 5
_RESET = struct.pack("ii", 1, 0)


class Mode(enum.Enum):
    """What the proxy does with what it is sent. In all of them it takes new connections."""

    PASS = "pass"
    #: Hold everything back; deliver it once the mode is PASS again.
    STALL = "stall"
    #: Forget everything, in both directions: a network that eats packets.
    BLACKHOLE = "blackhole"
    #: Forget what the client sends: the server's side works, and acks never arrive.
    DROP_CLIENT = "drop client to server"


class Proxy:
    """Listens on a port of its own and forwards to another one, as `mode` says. Modes change while it runs.

    Args:
        port: where the real server listens, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_TICK_S)
        self.port: int = self._listener.getsockname()[1]
        self.mode = Mode.PASS
        #: How many connections were made to it.
        self.connections = 0
        self._links: list[_Link] = []
        self.is_silent_at_limit = False
        #: How many bytes from the server were passed on.
        self.passed = 0
        self._limits: list[int] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Reset every connection and listen no more. More than once, too."""
        self._closing.set()
        self._thread.join()
        self._listener.close()
        self.reset()

    def reset(self) -> None:
        """End every connection with a TCP reset, at both ends; returns when that is done."""
        for link in self._links:
            link.is_reset = True
        for link in self._links:
            link.join(2 * _TIMEOUT_S)

    def reset_when_client_speaks(self) -> None:
        """Pass on what the client sends next on each connection, and reset that at once: an ack is just behind."""
        for link in self._links:
            link.is_reset_by_client = True

    def cut_after(self, count: int) -> None:
        """Close each connection in order after so many more bytes from the server, whatever they are."""
        for link in self._links:
            link.left = count

    def cut_new_after(self, counts: Iterable[int]) -> None:
        """The same for new connections: each takes the next of these, until there are no more."""
        self._limits = list(counts)
        self.is_silent_at_limit = False

    def silence_new_after(self, counts: Iterable[int]) -> None:
        """The same, but the connection stays open, and from then on forgets everything that the server says."""
        self._limits = list(counts)
        self.is_silent_at_limit = True

    @property
    def has_cut_all(self) -> bool:
        """Whether `cut_new_after` or `silence_new_after` is over: the last of its connections is closed."""
        return not self._limits and all(link.left is None or not link.is_alive() for link in self._links)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=_TIMEOUT_S)
            except OSError:
                client.close()
                continue
            client.settimeout(_TIMEOUT_S)
            link = _Link(self, client, server, self._limits.pop(0) if self._limits else None)
            self._links = [*(each for each in self._links if each.is_alive()), link]
            link.start()


class _Link(threading.Thread):
    """One connection through the proxy.

    Args:
        left: how many bytes from the server are passed on before it is closed; None: all.
    """

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket, left: int | None) -> None:
        super().__init__(daemon=True)
        self.left = left
        self.is_reset = False
        self.is_reset_by_client = False
        self._proxy = proxy
        self._client = client
        self._server = server

    def run(self) -> None:
        ends = (self._client, self._server)
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            for end in ends:
                selector.register(end, selectors.EVENT_READ)
            while not self.is_reset:
                for key, _ in selector.select(_TICK_S):
                    self._forward(key.fileobj)  # type: ignore[arg-type]
        for end in ends:
            if self.is_reset:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()

    def _forward(self, source: socket.socket) -> None:
        """Pass on what has come from one end. Raises OSError when the connection is to be closed."""
        mode, from_client = self._proxy.mode, source is self._client
        if mode is Mode.STALL:
            time.sleep(_TICK_S)
            return
        data = source.recv(_CHUNK)
        if not data:
            raise ConnectionError("closed")
        if mode is Mode.BLACKHOLE or (mode is Mode.DROP_CLIENT and from_client):
            return
        if from_client:
            self._server.sendall(data)
            self.is_reset = self.is_reset or self.is_reset_by_client
            return
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        # First: whoever has received it may look at the count.
        self._proxy.passed += len(data)
        self._client.sendall(data)
        if self.left == 0 and not self._proxy.is_silent_at_limit:
            raise ConnectionError("cut")
