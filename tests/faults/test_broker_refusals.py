"""A broker that cannot be used at the start is a clear error: exit 4 within 15 s, what to check, and no password."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.amqp import SECRET, Amqp
from tests.trial import Trial

CHECK_ADDRESS = ("AMQP", "check host and port")


@pytest.fixture
def trial(sqlite_trial: Trial) -> Trial:
    return sqlite_trial


class Teapot(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def http_port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Teapot)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def assert_refused(trial: Trial, url: str, *words: str) -> None:
    started = time.monotonic()
    consumer = trial.consume(amqp_url=url, startup_timeout="2s", log_level="info")  # without pika's own tracebacks
    assert consumer.process.wait(15) == 4, consumer.output
    assert time.monotonic() - started < 15
    assert SECRET not in consumer.output
    assert "Traceback" not in consumer.output
    assert all(word in consumer.output for word in words), consumer.output


def url_of(port: int, user: str = "athavus", query: str = "") -> str:
    return f"amqp://{user}:{SECRET}@127.0.0.1:{port}/%2F{query}"


def test_wrong_password_is_exit_4(trial: Trial) -> None:
    assert_refused(trial, url_of(trial.amqp.server.port), "refused the login", "RPI_HEALTH_AMQP_PASSWORD")


def test_wrong_virtual_host_is_exit_4(trial: Trial) -> None:
    assert_refused(trial, trial.amqp.url.replace("%2F", "nowhere"), "virtual host")


def test_missing_permission_is_exit_4(trial: Trial, powerless_user: str) -> None:
    trial.amqp.declare()
    assert_refused(trial, url_of(trial.amqp.server.port, powerless_user), "refused access", "permission")


def test_missing_queue_that_the_user_may_not_declare_is_exit_4(trial: Trial, powerless_user: str) -> None:
    assert_refused(trial, url_of(trial.amqp.server.port, powerless_user), "refused access", trial.amqp.queue)


def test_port_that_nobody_listens_on_is_exit_4(trial: Trial, closed_port: int) -> None:
    assert_refused(trial, url_of(closed_port), "nothing listens there")


def test_port_that_speaks_http_is_exit_4(trial: Trial, http_port: int) -> None:
    # Waiting for the rest of a request line, it says as little as the next one: here, with less patience.
    assert_refused(trial, url_of(http_port, query="?stack_timeout=2"), *CHECK_ADDRESS)


def test_port_that_says_nothing_is_exit_4(trial: Trial, silent_port: int) -> None:
    assert_refused(trial, url_of(silent_port), *CHECK_ADDRESS)


def test_name_that_does_not_resolve_is_exit_4(trial: Trial) -> None:
    assert_refused(trial, f"amqp://u:{SECRET}@broker.invalid/", "does not resolve")


def test_connection_limit_is_waited_for(trial: Trial, amqp: Amqp) -> None:
    # What the broker does not know to be gone yet may be our own last connection.
    amqp.server.ctl("add_vhost", "full")
    amqp.server.ctl("set_permissions", "-p", "full", "athavus", ".*", ".*", ".*")
    amqp.server.ctl("set_vhost_limits", "-p", "full", '{"max-connections": 0}')
    consumer = trial.consume(amqp_url=amqp.url.replace("%2F", "full"), reconnect_max_delay="0.1s")
    assert "connection limit" in consumer.wait_for("retry")["error"]
    amqp.server.ctl("clear_vhost_limits", "-p", "full")
    consumer.wait_for("consuming")
    consumer.stop()
    amqp.server.ctl("delete_vhost", "full")
