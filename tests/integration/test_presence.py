"""A running consumer is to be seen in the database, and with it when the fleet was being heard."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from rpi_health.database import create_engine
from rpi_health.models import ConsumerHearing, ConsumerStatus
from rpi_health.presence import Beat, Identity
from rpi_health.store import Store
from tests.amqp import Amqp
from tests.command import Cli
from tests.consuming import Consuming
from tests.waiting import wait_until

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)


@pytest.fixture
def engine(migrated_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(migrated_url, writer=True)
    yield engine
    engine.dispose()


def consumer(engine: sa.Engine, number: int) -> Store:
    return Store(engine, Identity(bytes(7) + bytes([number]), "pi", number, "1.0", "rasp_data", NOON))


def beat(seconds: float, *, listening: bool = True, backlog: int | None = 0) -> Beat:
    return Beat(NOON + seconds * SECOND, backlog is not None, listening, backlog, 2.5, None)


def rows(engine: sa.Engine, columns: list[Any]) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(columns[0]))]


def consumers(engine: sa.Engine) -> list[tuple[Any, ...]]:
    return rows(engine, [ConsumerStatus.pid, ConsumerStatus.backlog, ConsumerStatus.updated_at])


def heard(engine: sa.Engine) -> list[tuple[float, float]]:
    spans = rows(engine, [ConsumerHearing.heard_from, ConsumerHearing.heard_until])
    return [((since - NOON) / SECOND, (until - NOON) / SECOND) for since, until in spans]


def test_each_consumer_has_a_row_until_it_stops(engine: sa.Engine) -> None:
    first, second = consumer(engine, 1), consumer(engine, 2)
    first.beat(beat(0, backlog=7))
    second.beat(beat(1, backlog=None, listening=False))
    first.beat(beat(5, backlog=3))
    assert consumers(engine) == [(1, 3, NOON + 5 * SECOND), (2, None, NOON + 1 * SECOND)]
    first.leave()
    assert [pid for pid, *_ in consumers(engine)] == [2]


def test_what_ended_without_a_word_is_seen_for_a_day(engine: sa.Engine) -> None:
    consumer(engine, 1).beat(beat(0))
    consumer(engine, 2).beat(beat(86_400))
    assert [pid for pid, *_ in consumers(engine)] == [1, 2]
    consumer(engine, 3).beat(beat(86_401))
    assert [pid for pid, *_ in consumers(engine)] == [2, 3]


def test_hearing_is_one_span_of_all_consumers_until_nobody_listened_for_a_while(engine: sa.Engine) -> None:
    first, second = consumer(engine, 1), consumer(engine, 2)
    for seconds, store in ((0, first), (5, first), (4, second), (18, second)):
        store.beat(beat(seconds))
    assert heard(engine) == [(0, 18)]
    for seconds in (23, 30, 60):
        first.beat(beat(seconds, listening=False, backlog=9))
    assert heard(engine) == [(0, 18)]
    second.beat(beat(61))
    first.beat(beat(65))
    assert heard(engine) == [(0, 18), (61, 65)]


def test_store_without_an_identity_is_not_seen(engine: sa.Engine) -> None:
    Store(engine).beat(beat(0))
    Store(engine).leave()
    assert (consumers(engine), heard(engine)) == ([], [])


def test_consume_is_seen_while_it_runs_and_after_a_kill(amqp: Amqp, migrated_url: str, cli: Cli) -> None:
    amqp.declare()
    engine = create_engine(migrated_url)
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": migrated_url}
    consuming = Consuming(cli, env)
    wait_until(lambda: heard(engine), 20, "the fleet to be heard")
    (row,) = rows(engine, [ConsumerStatus.pid, ConsumerStatus.connected, ConsumerStatus.queue])
    assert row == (consuming.process.pid, True, amqp.queue)
    consuming.stop()
    assert consumers(engine) == []
    (before,) = heard(engine)

    consuming = Consuming(cli, env)
    wait_until(lambda: consumers(engine), 20, "the second consumer to be there")
    consuming.process.kill()
    consuming.process.wait(20)
    assert [pid for pid, *_ in consumers(engine)] == [consuming.process.pid]
    assert heard(engine)[0][0] == before[0]
    engine.dispose()
