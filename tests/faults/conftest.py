"""Trials on each database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.amqp import Amqp
from tests.command import Cli
from tests.trial import Trial

MakeTrial = Callable[[str], Trial]


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
