"""The private servers that all other integration tests stand on."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, Union

import pika
import psycopg
import pymysql
import pytest

from tests.amqp import Amqp
from tests.conftest import serve
from tests.waiting import wait_until
from tools.servers import MariaDB, PostgreSQL, RabbitMQ, ServerError, ServerMissing
from tools.servers.process import find_program, free_ports

AnyServer = Union[RabbitMQ, PostgreSQL, MariaDB]
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=[RabbitMQ, PostgreSQL, MariaDB], ids=lambda kind: kind.name.lower())
def server(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """Not the session's: other tests' queues and databases are there."""
    yield from serve(request.param())


def keep(server: AnyServer, name: str) -> None:
    """Store something durably, through the server's own client."""
    if isinstance(server, RabbitMQ):
        Amqp(server, name).publish([b"{}"])
    elif isinstance(server, PostgreSQL):
        server.psql(f"CREATE TABLE {name} AS SELECT 1 AS kept")
    else:
        server.sql(f"CREATE TABLE {name} ENGINE=InnoDB AS SELECT 1 AS kept")


def kept(server: AnyServer, name: str) -> int:
    """How many of the things that were stored under that name are there."""
    if isinstance(server, RabbitMQ):
        return sum(server.queue_counts(name))
    query = f"SELECT count(*) FROM {name}"
    return int(server.psql(query) if isinstance(server, PostgreSQL) else server.sql(query))


def connect(server: AnyServer) -> contextlib.closing[Any]:
    if isinstance(server, RabbitMQ):
        return contextlib.closing(pika.BlockingConnection(pika.URLParameters(server.url)))
    if isinstance(server, PostgreSQL):
        return contextlib.closing(psycopg.connect(server.url, connect_timeout=2))
    return contextlib.closing(pymysql.connect(host="127.0.0.1", port=server.port, user="root", connect_timeout=2))


def first_answer(server: AnyServer, timeout_s: float = 0.5) -> bytes:
    """The first byte that the server says to a client of its protocol."""
    greeting = {"RabbitMQ": b"AMQP\0\0\x09\x01", "PostgreSQL": struct.pack("!ii", 8, 80877103), "MariaDB": b""}
    with socket.create_connection(("127.0.0.1", server.port), timeout_s) as connection:
        connection.sendall(greeting[server.name])
        return connection.recv(1)


def processes_in(folder: Path) -> list[str]:
    """The command lines of living processes that work in that folder, or have it for their home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_below = str((process / "cwd").readlink()).startswith(str(folder))
            if is_below or f"HOME={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


def test_accepts_clients_as_soon_as_it_has_started(server: AnyServer) -> None:
    server.ensure_running()

    with connect(server):
        pass


def test_restart_keeps_the_port_and_the_data(server: AnyServer) -> None:
    keep(server, "restarted")
    url = server.url

    server.restart()

    assert server.url == url
    assert kept(server, "restarted") == 1


def test_kill_keeps_what_was_confirmed(server: AnyServer) -> None:
    keep(server, "killed")

    server.kill()

    assert not server.is_running
    server.start()
    assert kept(server, "killed") == 1


def test_stopped_server_refuses_connections(server: AnyServer) -> None:
    server.stop()

    with pytest.raises((OSError, pika.exceptions.AMQPError, psycopg.OperationalError, pymysql.OperationalError)):
        connect(server)


def test_frozen_server_is_silent_until_thawed(server: AnyServer) -> None:
    server.ensure_running()
    assert first_answer(server)

    server.freeze()

    with pytest.raises(socket.timeout):
        first_answer(server)
    server.thaw()
    assert first_answer(server)


def test_freezing_postgresql_reaches_the_sessions_that_are_open(postgresql: PostgreSQL) -> None:
    with connect(postgresql) as connection, ThreadPoolExecutor(1) as worker:
        postgresql.freeze()
        answer = worker.submit(connection.execute, "SELECT 1")
        try:
            with pytest.raises(FutureTimeoutError):
                answer.result(0.3)
        finally:
            postgresql.thaw()

        assert answer.result(10).fetchone() == (1,)


def test_close_leaves_no_process_and_no_folder(server: AnyServer) -> None:
    server.ensure_running()
    assert processes_in(server.folder)

    server.close()

    wait_until(lambda: not processes_in(server.folder), 5, "the end of all processes")
    assert not server.folder.exists()


def test_servers_end_with_a_program_that_is_killed() -> None:
    program = """
import os, signal
from tools.servers import MariaDB, PostgreSQL, RabbitMQ
servers = [RabbitMQ(), PostgreSQL(), MariaDB()]
for server in servers:
    server.start()
print(*(server.folder for server in servers), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=False)

    folders = [Path(name) for name in done.stdout.split()]
    assert len(folders) == 3
    wait_until(lambda: not any(map(processes_in, folders)), 10, "the end of all processes")
    for folder in folders:
        shutil.rmtree(folder)


def test_a_server_that_cannot_start_says_what_its_log_says() -> None:
    with pytest.raises(ServerError, match="nonsense"), PostgreSQL(settings={"shared_buffers": "nonsense"}):
        pass


def test_rabbitmq_nodes_that_share_an_epmd_and_a_cookie_form_a_cluster() -> None:
    with RabbitMQ(nodename="one@localhost") as one:
        with RabbitMQ(nodename="two@localhost", cookie=one.cookie, epmd_port=one.epmd_port) as two:
            two.ctl("stop_app")
            two.ctl("join_cluster", one.nodename)
            two.ctl("start_app")

            status = json.loads(two.ctl("cluster_status", "--formatter", "json"))

        assert sorted(status["running_nodes"]) == ["one@localhost", "two@localhost"]


def test_published_messages_are_counted_and_taken_in_order(amqp: Amqp) -> None:
    published = amqp.publish(str(number) for number in range(2500))

    assert published == 2500
    assert amqp.counts() == (2500, 0)
    assert [int(body) for _, body in amqp.get_all()] == list(range(2500))
    assert amqp.get_all(amqp.dead_letter_queue) == []


def test_missing_program_is_reported_with_the_package_that_has_it() -> None:
    with pytest.raises(ServerMissing, match="apt-get install some-server") as caught:
        find_program(["some-serverd"], [], "some-server")

    assert caught.value.package == "some-server"


def test_ports_are_distinct_and_never_given_to_clients() -> None:
    first_for_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    ports = free_ports(50)

    assert len(set(ports)) == 50
    assert max(ports) < first_for_clients
