"""The proxy of the tests does what its modes say; shown on a server that sends back what it is sent."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.proxy import Mode, Proxy
from tests.waiting import wait_until

A_MOMENT_S = 0.2


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it is sent, and keeps it."""

    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.server.received += data  # type: ignore[attr-defined]
            self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.received = b""

    def handle_error(self, *_: object) -> None:
        """Say nothing: connections are reset here."""


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[Proxy]:
    with Proxy(echo.server_address[1]) as running:
        yield running


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    """A connection through the proxy, on which something has come back."""
    with connect(proxy) as connection:
        assert ask(connection, b"hello") == b"hello"
        yield connection


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


@contextlib.contextmanager
def both_ends() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """A proxy, and the ends of a connection through it on which something has come through."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Proxy(listener.getsockname()[1]) as proxy,
        connect(proxy) as client,
        listener.accept()[0] as server,
    ):
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        yield proxy, client, server


def ask(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return receive(client, len(data))


def receive(client: socket.socket, count: int) -> bytes:
    """So many bytes, or those that came before the end."""
    received = b""
    while len(received) < count and (data := client.recv(count - len(received))):
        received += data
    return received


def assert_silent(client: socket.socket) -> None:
    client.settimeout(A_MOMENT_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(5)


def test_stall_holds_everything_back_and_delivers_it_afterwards(
    proxy: Proxy, client: socket.socket, echo: EchoServer
) -> None:
    proxy.mode = Mode.STALL
    client.sendall(b"held")
    assert_silent(client)
    assert echo.received == b"hello"
    proxy.mode = Mode.PASS
    assert receive(client, 4) == b"held"


def test_blackhole_forgets_everything(proxy: Proxy, client: socket.socket, echo: EchoServer) -> None:
    proxy.mode = Mode.BLACKHOLE
    client.sendall(b"gone")
    assert_silent(client)
    with connect(proxy) as another:
        another.sendall(b"gone")
        assert_silent(another)
    assert echo.received == b"hello"
    proxy.mode = Mode.PASS
    assert ask(client, b"again") == b"again"


def test_drop_client_forgets_only_what_the_client_sends() -> None:
    with both_ends() as (proxy, client, server):
        proxy.mode = Mode.DROP_CLIENT
        client.sendall(b"gone")
        server.sendall(b"passed")
        assert receive(client, 6) == b"passed"
        assert_silent(server)


def test_reset_is_a_reset_at_both_ends_of_each_connection() -> None:
    with both_ends() as (proxy, client, server):
        proxy.reset()
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_proxy_goes_on_after_a_reset(proxy: Proxy, client: socket.socket) -> None:
    proxy.reset()
    with connect(proxy) as another:
        assert ask(another, b"again") == b"again"
    assert proxy.connections == 2


def test_reset_when_client_speaks_comes_after_its_words(proxy: Proxy, client: socket.socket, echo: EchoServer) -> None:
    proxy.reset_when_client_speaks()
    assert_silent(client)
    client.sendall(b"ack")
    with pytest.raises(ConnectionResetError):
        receive(client, 4)
    wait_until(lambda: echo.received == b"helloack", 5, "the last words")


@pytest.mark.parametrize("count", [1, 5, 9])
def test_cut_after_lets_exactly_so_many_bytes_through(proxy: Proxy, client: socket.socket, count: int) -> None:
    proxy.cut_after(count)
    client.sendall(b"0123456789")
    assert receive(client, 10) == b"0123456789"[:count]


def test_cut_new_after_is_for_one_connection_each(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut_new_after([2, 3])
    for count in (2, 3):
        assert not proxy.has_cut_all
        with connect(proxy) as another:
            another.sendall(b"0123456789")
            assert receive(another, 10) == b"0123456789"[:count]
    wait_until(lambda: proxy.has_cut_all, 5, "the last cut")
    assert ask(client, b"0123456789") == b"0123456789"
    with connect(proxy) as another:
        assert ask(another, b"0123456789") == b"0123456789"


def test_closed_proxy_refuses_connections(proxy: Proxy, client: socket.socket) -> None:
    proxy.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
