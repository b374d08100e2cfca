"""The address at which metrics and health are served over HTTP: `/metrics`, `/livez`, `/readyz`."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector, make_wsgi_app
from prometheus_client.registry import Collector, CollectorRegistry

from rpi_health import errors, events
from rpi_health.health import Health

#: So many are answered at a time; others are turned away. The units for systemd allow 64 threads for all.
_MOST_CLIENTS = 32
_Respond = Callable[[str, list[tuple[str, str]]], Any]
_PATHS = """\
/metrics  for Prometheus
/livez    whether the consumer can make progress
/readyz   whether it takes and stores messages
"""


class Site:
    """The WSGI application.

    Args:
        health: how the consumer is.
        collectors: of the metrics.
    """

    def __init__(self, health: Callable[[], Health], collectors: Iterable[Collector]) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        for collector in collectors:
            registry.register(collector)
        self._health = health
        self._metrics: Any = make_wsgi_app(registry)

    def __call__(self, environ: dict[str, Any], respond: _Respond) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            metrics: Iterable[bytes] = self._metrics(environ, respond)
            return metrics
        health = self._health()
        if path == "/livez":
            return _answer(respond, health.is_live, health.not_live)
        if path == "/readyz":
            return _answer(respond, health.is_ready, health.reasons)
        respond("200 OK" if path == "/" else "404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [_PATHS.encode()]


def _answer(respond: _Respond, is_well: bool, reasons: tuple[str, ...]) -> Iterable[bytes]:
    respond("200 OK" if is_well else "503 Service Unavailable", [("Content-Type", "application/json")])
    return [json.dumps({"status": "ok" if is_well else "unavailable", "reasons": reasons}).encode() + b"\n"]


class Server:
    """Serves a site on threads of its own, from creation until it is closed.

    Args:
        address: host and port; port 0 is any that is free.

    Raises:
        ConfigurationError: nothing can listen there.
    """

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        host, port = address
        try:
            self._server = _Server(host, port)
        except OSError as error:
            raise errors.ConfigurationError(
                f"Metrics cannot be served at {_shown(host, port)}: {error.strerror or error}. "
                "Give another address in RPI_HEALTH_METRICS_ADDR or --metrics-addr."
            ) from error
        self._server.set_app(site)
        threading.Thread(target=self._server.serve_forever, name="rpi-health-http", daemon=True).start()
        events.Log(__name__).say(events.SERVING, address=self.address)

    @property
    def address(self) -> str:
        """Where it listens, as `http://HOST:PORT`."""
        host, port = self._server.server_address[:2]
        return f"http://{_shown(str(host), int(port))}"

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._room = threading.BoundedSemaphore(_MOST_CLIENTS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks up the name of the host, which may take many seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def verify_request(self, *_: object) -> bool:
        """Whether there is room for one more: each has a thread and a descriptor, which the consumer needs as well."""
        return self._room.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a client that broke off or kept us waiting: it is no event, and a traceback is no line of a log."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = 10  # seconds that a client may keep us waiting

    def setup(self) -> None:
        super().setup()
        self.wfile = _Wire(self.connection)

    def log_message(self, *_: object) -> None:
        """Who looks every few seconds is no event."""


class _Wire(io.BufferedIOBase):
    """Writes to a client. One that does not read is one that broke off: of any other error, wsgiref has a traceback."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            self._wire.sendall(data)
        except OSError as error:
            raise ConnectionAbortedError(str(error)) from error
        return len(data)
