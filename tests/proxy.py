"""A TCP proxy that can misbehave: between a consumer and a real broker or database."""

from __future__ import annotations

import contextlib
import enum
import selectors
import socket
import struct
import threading
from types import TracebackType

_CHUNK = 16 * 1024
_TICK_S = 0.05


class Mode(enum.Enum):
    """What the proxy does with what it is sent."""

    PASS = "pass"
    #: Hold everything back; deliver it once the mode is PASS again.
    STALL = "stall"
    #: Read and forget everything, in both directions, and accept more connections: a network that eats packets.
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
        self.port: int = self._listener.getsockname()[1]
        self.mode = Mode.PASS
        #: Cut each connection after so many more bytes from the server; None: never.
        self.cut_after_bytes: int | None = None
        self.connections = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._closing.set()
        self._listener.close()
        self.reset()
        for thread in self._threads:
            thread.join(5)

    def reset(self) -> None:
        """End every connection with a TCP reset."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                    end.close()

    def _accept(self) -> None:
        self._listener.settimeout(_TICK_S)
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            thread = threading.Thread(target=self._forward, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        left = self.cut_after_bytes
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while not self._closing.is_set():
                if self.mode is Mode.STALL:
                    self._closing.wait(_TICK_S)
                    continue
                for key, _ in selector.select(_TICK_S):
                    source: socket.socket = key.fileobj  # type: ignore[assignment]
                    data = source.recv(_CHUNK)
                    if not data:
                        raise OSError("closed")
                    if self._is_dropped(source is client):
                        continue
                    if left is not None and source is server:
                        data, left = data[:left], left - len(data)
                    key.data.sendall(data)
                    if left is not None and left <= 0:
                        raise OSError("cut")
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _is_dropped(self, from_client: bool) -> bool:
        return self.mode is Mode.BLACKHOLE or (self.mode is Mode.DROP_CLIENT and from_client)
