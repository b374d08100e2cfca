"""Trials on each database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Union

import pytest

from tests.amqp import Amqp
from tests.command import Cli
from tests.proxy import Proxy
from tests.trial import Trial
from tools.servers import MariaDB, PostgreSQL

MakeTrial = Callable[[str], Trial]
#: A database that is a server of its own.
DatabaseServer = Union[PostgreSQL, MariaDB]


@pytest.fixture
def make_trial(amqp: Amqp, cli: Cli, record_property: Callable[[str, object], None]) -> MakeTrial:
    return lambda url: Trial(amqp, url, cli, record_property)


@pytest.fixture
def sqlite_trial(make_trial: MakeTrial, sqlite_url: str) -> Trial:
    return make_trial(sqlite_url)


@pytest.fixture
def postgresql_trial(make_trial: MakeTrial, postgresql_url: str) -> Trial:
    return make_trial(postgresql_url)


@pytest.fixture
def mariadb_trial(make_trial: MakeTrial, mariadb_url: str) -> Trial:
    return make_trial(mariadb_url)


@pytest.fixture
def trial(make_trial: MakeTrial, database_url: str) -> Trial:
    """A trial on each kind of database."""
    return make_trial(database_url)


@pytest.fixture
def proxy(amqp: Amqp) -> Iterator[Proxy]:
    """Another way to the broker."""
    with Proxy(amqp.server.port) as running:
        yield running


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    """A database server of each kind, which a test may stop, kill or freeze."""
    found: DatabaseServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def server_trial(request: pytest.FixtureRequest, server: DatabaseServer, make_trial: MakeTrial) -> Trial:
    """A trial on `server`."""
    return make_trial(request.getfixturevalue(f"{server.name.lower()}_url"))


@pytest.fixture
def database_proxy(server: DatabaseServer) -> Iterator[Proxy]:
    """Another way to `server`."""
    with Proxy(server.port) as running:
        yield running
