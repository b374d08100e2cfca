"""Faults of the broker and of what is in its queues."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pika
import pytest

from rpi_health.models import DeviceHistory
from tests.amqp import Amqp
from tests.command import Cli
from tests.consuming import Consuming
from tests.reports import count_rows, history
from tests.waiting import wait_until


@pytest.fixture
def env(amqp: Amqp, sqlite_url: str, cli: Cli) -> dict[str, str]:
    env = {
        **amqp.env,
        "RPI_HEALTH_DATABASE_URL": sqlite_url,
        "RPI_HEALTH_RECONNECT_MAX_DELAY": "1s",
        "RPI_HEALTH_STARTUP_TIMEOUT": "2s",
    }
    assert cli("init-db", env=env).returncode == 0
    return env


def dated(number: int) -> dict[str, Any]:
    return {"id": f"pi-{number % 50}", "cpu_percent": number, "timestamp": 1_790_000_000 + number}


def wait_stored(url: str, count: int, timeout_s: float = 30) -> None:
    wait_until(lambda: count_rows(url, DeviceHistory) >= count, timeout_s, f"{count} stored reports")
    assert count_rows(url, DeviceHistory) == count


class Teapot(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def http_port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Teapot)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


FAR_MS = 1_790_000_000_000


class FarTimestampProperties(pika.BasicProperties):
    """A header of timestamp type in milliseconds where seconds belong: some producers send it, pika cannot."""

    def encode(self) -> list[bytes]:
        table = b"\x02atT" + struct.pack(">Q", FAR_MS)
        return [struct.pack(">HI", self.FLAG_HEADERS | self.FLAG_DELIVERY_MODE, len(table)), table, b"\x02"]


class DeepProperties(pika.BasicProperties):
    """Headers nested deeper than Python's stack: RabbitMQ passes them on, pika cannot read them."""

    def encode(self) -> list[bytes]:
        table, array = b"V", b"V"
        for _ in range(1_000):
            table = b"F" + struct.pack(">I", len(table) + 2) + b"\x01a" + table
        for _ in range(900):
            array = b"A" + struct.pack(">I", len(array)) + array
        headers = b"\x05table" + table + b"\x05array" + array + b"\x04siteS\x00\x00\x00\x04roof"
        flags = self.FLAG_HEADERS | self.FLAG_DELIVERY_MODE | self.FLAG_MESSAGE_ID
        return [struct.pack(">HI", flags, len(headers)), headers, b"\x02", b"\x02m1"]


def assert_refused(cli: Cli, env: dict[str, str], url: str, *words: str) -> None:
    started = time.monotonic()
    done = cli("consume", env={**env, "RPI_HEALTH_AMQP_URL": url})
    assert done.returncode == 4, done.stderr
    assert time.monotonic() - started < 15
    assert "s3cret" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_wrong_password_is_exit_4(amqp: Amqp, env: dict[str, str], cli: Cli) -> None:
    url = f"amqp://athavus:s3cret-canary@127.0.0.1:{amqp.server.port}/%2F"
    assert_refused(cli, env, url, "refused the login", "RPI_HEALTH_AMQP_PASSWORD")


def test_wrong_virtual_host_is_exit_4(amqp: Amqp, env: dict[str, str], cli: Cli) -> None:
    assert_refused(cli, env, amqp.url.replace("%2F", "nowhere"), "virtual host")


def test_missing_permission_is_exit_4(amqp: Amqp, env: dict[str, str], cli: Cli) -> None:
    amqp.server.ctl("add_user", "nobody", "s3cret-canary")
    amqp.server.ctl("set_permissions", "nobody", "^$", "^$", "^$")
    try:
        amqp.declare()
        url = f"amqp://nobody:s3cret-canary@127.0.0.1:{amqp.server.port}/%2F"
        assert_refused(cli, env, url, "refused access", "permission")
    finally:
        amqp.server.ctl("delete_user", "nobody")


def test_port_that_nobody_listens_on_is_exit_4(env: dict[str, str], cli: Cli, closed_port: int) -> None:
    assert_refused(cli, env, f"amqp://u:s3cret-canary@127.0.0.1:{closed_port}/", "nothing listens there")


def test_port_that_speaks_http_is_exit_4(env: dict[str, str], cli: Cli, http_port: int) -> None:
    assert_refused(cli, env, f"amqp://u:s3cret-canary@127.0.0.1:{http_port}/", "AMQP", "check host and port")


def test_port_that_says_nothing_is_exit_4(env: dict[str, str], cli: Cli, silent_port: int) -> None:
    assert_refused(cli, env, f"amqp://u:s3cret-canary@127.0.0.1:{silent_port}/", "AMQP", "check host and port")


def test_name_that_does_not_resolve_is_exit_4(env: dict[str, str], cli: Cli) -> None:
    assert_refused(cli, env, "amqp://u:s3cret-canary@broker.invalid/", "does not resolve")


def test_second_broker_url_is_used_where_the_first_does_not_answer(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli, closed_port: int
) -> None:
    amqp.publish([dated(1)])
    urls = f"amqp://athavus:1234@127.0.0.1:{closed_port}/%2F,{amqp.url}"
    done = cli("consume", "--until-empty", env={**env, "RPI_HEALTH_AMQP_URL": urls})
    assert done.returncode == 0, done.stderr
    wait_stored(sqlite_url, 1)


@pytest.mark.parametrize(
    "arguments",
    [{"x-queue-type": "quorum"}, {"x-message-ttl": 600_000}, {"x-dead-letter-exchange": "elsewhere"}],
    ids=["quorum", "ttl", "dlx"],
)
def test_queue_with_other_arguments_is_consumed_as_it_is(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli, arguments: dict[str, Any]
) -> None:
    amqp.declare(arguments=arguments)
    amqp.publish([dated(n) for n in range(20)])
    done = cli("consume", "--until-empty", env=env)
    assert done.returncode == 0, done.stderr
    wait_stored(sqlite_url, 20)


def test_missing_queue_is_declared_as_producers_declare_it(amqp: Amqp, env: dict[str, str], cli: Cli) -> None:
    assert cli("consume", "--until-empty", env=env).returncode == 0
    with amqp.channel() as channel:
        channel.queue_declare(amqp.queue, durable=True)


def test_missing_queue_is_created_as_quorum_queue_where_that_is_asked_for(
    amqp: Amqp, env: dict[str, str], cli: Cli
) -> None:
    assert cli("consume", "--until-empty", env={**env, "RPI_HEALTH_QUEUE_TYPE": "quorum"}).returncode == 0
    amqp.declare(arguments={"x-queue-type": "quorum"})


def test_deleted_queue_is_declared_again_and_consumed(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli
) -> None:
    amqp.publish([dated(1)])
    consumer = Consuming(cli, env)
    wait_stored(sqlite_url, 1)
    with amqp.channel() as channel:
        channel.queue_delete(amqp.queue)
    consumer.wait_for("consuming", count=2)
    amqp.publish([dated(2)])
    wait_stored(sqlite_url, 2)
    assert consumer.stop()["sessions"] == 2


def test_connection_closed_by_the_broker_is_opened_again(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli
) -> None:
    consumer = Consuming(cli, env)
    consumer.wait_for("consuming")
    amqp.server.ctl("close_all_connections", "test")
    consumer.wait_for("consuming", count=2)
    amqp.publish([dated(1)])
    wait_stored(sqlite_url, 1)
    consumer.stop()


def test_killed_broker_is_waited_for(amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli) -> None:
    amqp.publish([dated(n) for n in range(100)])
    consumer = Consuming(cli, env)
    wait_stored(sqlite_url, 100)
    amqp.server.kill()
    consumer.wait_for("retry", count=2)
    amqp.server.start()
    consumer.wait_for("consuming", count=2)
    amqp.publish([dated(n) for n in range(100, 200)])
    wait_stored(sqlite_url, 200)
    consumer.stop()
    assert amqp.counts() == (0, 0)


def test_frozen_broker_is_noticed_by_its_missing_heartbeats(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli
) -> None:
    consumer = Consuming(cli, {**env, "RPI_HEALTH_AMQP_URL": f"{amqp.url}?heartbeat=2"})
    consumer.wait_for("consuming")
    amqp.server.freeze()
    try:
        consumer.wait_for("retry", timeout_s=12)
    finally:
        amqp.server.thaw()
    consumer.wait_for("consuming", count=2)
    amqp.publish([dated(1)])
    wait_stored(sqlite_url, 1)
    consumer.stop()


def test_full_dead_letter_queue_keeps_the_bad_message_and_lets_the_good_ones_flow(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli
) -> None:
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    amqp.declare(amqp.dead_letter_queue, arguments=full)
    amqp.publish([b"filler"], queue=amqp.dead_letter_queue)
    consumer = Consuming(cli, env)
    amqp.publish([dated(1), b"bad", dated(2)])
    wait_stored(sqlite_url, 2)
    assert "is full" in consumer.wait_for("dead_letters_held")["message"]
    amqp.publish([dated(n) for n in range(3, 3003)])
    wait_stored(sqlite_url, 3002)
    wait_until(lambda: amqp.counts() == (0, 1), 15, "all but the bad message to be acked")
    assert [body for _, body in amqp.get_all(amqp.dead_letter_queue)] == [b"filler"]
    consumer.wait_for("dead_lettered")
    assert [body for _, body in amqp.get_all(amqp.dead_letter_queue)] == [b"bad"]
    counts = consumer.stop()
    assert counts["dead_letter_retries"] >= 1
    assert amqp.counts() == (0, 0)


def test_memory_alarm_stops_dead_letters_but_neither_consuming_nor_acks(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli
) -> None:
    amqp.publish([dated(1), b"bad", *(dated(n) for n in range(2, 3001))])
    amqp.server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        consumer = Consuming(cli, env)
        wait_stored(sqlite_url, 3000)
        wait_until(lambda: amqp.counts() == (0, 1), 20, "all but the bad message to be acked")
    finally:
        amqp.server.ctl("set_vm_memory_high_watermark", "0.4")
    consumer.wait_for("dead_lettered", timeout_s=45)
    consumer.stop()
    assert [body for _, body in amqp.get_all(amqp.dead_letter_queue)] == [b"bad"]


def test_header_that_pika_cannot_decode_does_not_kill_the_connection(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli
) -> None:
    amqp.publish([dated(1), b"bad"], FarTimestampProperties())
    done = cli("consume", "--until-empty", "--log-format", "json", env=env)
    assert done.returncode == 0, done.stderr
    assert '"sessions": 1' in done.stderr
    wait_stored(sqlite_url, 1)
    ((properties, _),) = amqp.get_all(amqp.dead_letter_queue)
    assert properties.headers["at"] == FAR_MS


def test_deeply_nested_headers_do_not_kill_the_connection(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli
) -> None:
    amqp.publish([dated(1), b"bad"], DeepProperties())
    done = cli("consume", "--until-empty", "--log-format", "json", env=env)
    assert done.returncode == 0, done.stderr
    assert '"sessions": 1' in done.stderr
    wait_stored(sqlite_url, 1)
    ((properties, _),) = amqp.get_all(amqp.dead_letter_queue)
    assert {"table", "array"} <= set(properties.headers)
    assert (properties.headers["site"], properties.message_id, properties.delivery_mode) == ("roof", "m1", 2)


def test_dead_letter_is_the_message_verbatim_without_what_would_route_or_expire_it(
    amqp: Amqp, env: dict[str, str], cli: Cli
) -> None:
    properties = pika.BasicProperties(
        content_type="text/plain",
        headers={"site": "roof", "big": "x" * 20_000, "CC": ["elsewhere"]},
        message_id="m1",
        correlation_id="c1",
        type="t",
        app_id="a",
        priority=3,
        timestamp=1_790_000_000,
        expiration="600000",
        user_id="athavus",
        delivery_mode=2,
    )
    amqp.publish([b"\xff\x00bad"], properties)
    assert cli("consume", "--until-empty", env=env).returncode == 0
    ((dead, body),) = amqp.get_all(amqp.dead_letter_queue)
    assert body == b"\xff\x00bad"
    kept = ("content_type", "message_id", "correlation_id", "type", "app_id", "priority", "timestamp", "delivery_mode")
    assert {name: getattr(dead, name) for name in kept} == {name: getattr(properties, name) for name in kept}
    assert (dead.expiration, dead.user_id) == (None, None)
    own = {name for name in dead.headers if name.startswith("x-rpi-health-")}
    assert set(dead.headers) - own == {"site"}
    assert own == {f"x-rpi-health-{n}" for n in ("reason", "detail", "queue", "received-at", "redelivered", "version")}


def test_several_consumers_share_a_queue_and_each_report_is_stored_once(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli
) -> None:
    consumers = [Consuming(cli, env) for _ in range(3)]
    for consumer in consumers:
        consumer.wait_for("consuming")
    amqp.publish([dated(n) for n in range(5_000)])
    wait_stored(sqlite_url, 5_000, timeout_s=60)
    counts = [consumer.stop() for consumer in consumers]
    assert sum(each["stored"] for each in counts) == 5_000
    assert len(history(sqlite_url, "pi-0")) == 100
    assert amqp.counts() == (0, 0)


@pytest.mark.parametrize("prefetch", [1, 2, 5])
def test_until_empty_leaves_nothing_behind_however_small_the_prefetch(
    amqp: Amqp, env: dict[str, str], sqlite_url: str, cli: Cli, prefetch: int
) -> None:
    amqp.publish([dated(n) for n in range(21)])
    done = cli("consume", "--until-empty", env={**env, "RPI_HEALTH_PREFETCH": str(prefetch)})
    assert done.returncode == 0, done.stderr
    wait_stored(sqlite_url, 21)
    assert amqp.counts() == (0, 0)


def test_stopping_while_dead_letters_are_held_tries_once_more_and_ends(
    amqp: Amqp, env: dict[str, str], cli: Cli
) -> None:
    amqp.declare(amqp.dead_letter_queue, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    amqp.publish([b"filler"], queue=amqp.dead_letter_queue)
    amqp.publish([b"bad"])
    consumer = Consuming(cli, env)
    held = len(consumer.events("dead_letters_held"))
    consumer.wait_for("dead_letters_held")
    counts = consumer.stop()
    assert counts["dead_lettered"] == 0
    assert counts["dead_letter_retries"] <= held + 6
    assert amqp.counts() == (1, 0)
