"""Fixtures for all tests: real servers, started when first used; a queue, a database and a command for each test.

Nothing here costs a unit test anything: what needs a server or a driver is imported where it is used.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from tests.amqp import Amqp
    from tests.command import Cli
    from tools.servers import MariaDB, PostgreSQL, RabbitMQ
    from tools.servers.server import Server

S = TypeVar("S", bound="Server")


def serve(server: S) -> Iterator[S]:
    """Start a server, hand it out, and leave nothing of it. A missing program is an error in CI, elsewhere a skip."""
    from tools.servers import ServerMissing

    try:
        with server:
            yield server
    except ServerMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


def fresh_name(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ that no other process knows of. A test may stop, kill or freeze it."""
    from tools.servers import RabbitMQ

    yield from serve(RabbitMQ())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL that no other process knows of. A test may stop, kill or freeze it."""
    from tools.servers import PostgreSQL

    yield from serve(PostgreSQL())


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB that no other process knows of. A test may stop, kill or freeze it."""
    from tools.servers import MariaDB

    yield from serve(MariaDB())


@pytest.fixture
def amqp(rabbitmq: RabbitMQ) -> Iterator[Amqp]:
    """A queue name that no other test has, not yet declared; it and its dead-letter queue are deleted in the end."""
    from tests.amqp import Amqp

    rabbitmq.ensure_running()
    own = Amqp(rabbitmq, fresh_name("test"))
    yield own
    rabbitmq.ensure_running()
    own.delete()


@pytest.fixture
def powerless_user(amqp: Amqp) -> Iterator[str]:
    """May log in with the password `tests.amqp.SECRET`, and nothing else."""
    from tests.amqp import SECRET

    amqp.server.ctl("add_user", "nobody", SECRET)
    amqp.server.ctl("set_permissions", "nobody", "^$", "^$", "^$")
    yield "nobody"
    amqp.server.ctl("delete_user", "nobody")


@pytest.fixture
def closed_port() -> int:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'fleet.db'}"


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """A fresh, empty database."""
    postgresql.ensure_running()
    name = fresh_name("test")
    yield postgresql.create_database(name)
    postgresql.ensure_running()
    postgresql.drop_database(name)


@pytest.fixture
def mariadb_url(mariadb: MariaDB) -> str:
    """A fresh, empty database."""
    mariadb.ensure_running()
    return mariadb.create_database(fresh_name("test"))


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, empty database; the test runs once on each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def migrated_url(database_url: str) -> str:
    """A fresh database with the current schema and no rows; the test runs once on each kind."""
    from rpi_health import migrations

    migrations.upgrade(database_url)
    return database_url


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """The installed command. What it started and still runs is killed in the end."""
    from tests.command import Cli

    folder = tmp_path / "cli"
    folder.mkdir()
    command = Cli(folder)
    yield command
    command.close()


#: What trials record, and the heading under which it is shown.
MEASURED = {
    "noticed_s": "noticed s",
    "recovered_s": "recovered s",
    "stored": "stored",
    "dead_lettered": "dead",
    "sessions": "sessions",
    "redelivered": "redelivered",
    "stale_acks": "stale acks",
    "database_retries": "db retries",
    "parked": "parked",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each trial measured. See `tests.trial`."""
    measured = {
        report.nodeid.split("::", 1)[1]: dict(report.user_properties)
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and report.user_properties
    }
    if measured:
        terminalreporter.section("what the trials measured")
        terminalreporter.write_line(" ".join(f"{heading:>11}" for heading in MEASURED.values()) + "  trial")
    for name, values in sorted(measured.items()):
        cells = " ".join(f"{values.get(each, ''):>11}" for each in MEASURED)
        terminalreporter.write_line(f"{cells}  {name.removeprefix('test_')}")
