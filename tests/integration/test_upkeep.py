"""Consumers that share a database delete what is old once between them, on each database, whatever becomes of one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from rpi_health import errors
from rpi_health.database import create_engine
from rpi_health.models import ConsumerUpkeep, DeviceHistory
from rpi_health.store import Store, Upkeep, retention
from rpi_health.store.upkeep import _database_time
from tests.amqp import Amqp
from tests.command import Cli
from tests.consuming import Consuming
from tests.reports import NOON as FIRST_MINUTE
from tests.reports import count_rows, report
from tests.schema import scalars
from tests.waiting import wait_until

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)
KEEP = timedelta(days=30)
DEVICES = [f"pi-{number}" for number in range(7)]


class Clock:
    """What time it is, as a test says."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self, _connection: sa.Connection) -> datetime:
        return self.now

    def go_on(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK_ROWS", 2)
    monkeypatch.setattr(retention, "_IDS", 2)


@pytest.fixture
def consumers(migrated_url: str, clock: Clock) -> Iterator[list[Upkeep]]:
    """Three that share a database, with three old reports a device."""
    fill(migrated_url)
    made = [
        Upkeep(create_engine(migrated_url, writer=True), bytes([number]) * 8, KEEP, clock) for number in range(1, 4)
    ]
    yield made
    for each in made:
        each.close()


def fill(url: str, minutes: int = 3) -> None:
    engine = create_engine(url, writer=True)
    store = Store(engine)
    assert store.write([report({"id": device}, minute=n) for device in DEVICES for n in range(minutes)]) == []
    store.close()


def left(url: str) -> int:
    return count_rows(url, DeviceHistory)


def row(url: str) -> tuple[bytes | None, datetime | None, str | None, datetime | None]:
    engine = create_engine(url)
    with engine.connect() as connection:
        columns = ConsumerUpkeep.__table__.c
        query = sa.select(columns.owner, columns.leased_until, columns.position, columns.began_at)
        (found,) = connection.execute(query)
    engine.dispose()
    return tuple(found)  # type: ignore[return-value]


def test_round_deletes_all_that_is_old_and_leaves_no_lease(consumers: list[Upkeep], migrated_url: str) -> None:
    assert sum(consumers[0].round()) == 21
    assert left(migrated_url) == 0
    assert row(migrated_url) == (None, None, None, NOON)


def test_second_round_is_due_a_day_after_the_first_whoever_does_it(
    consumers: list[Upkeep], migrated_url: str, clock: Clock
) -> None:
    assert sum(consumers[0].round()) == 21
    fill(migrated_url)
    clock.go_on(hours=23.9)
    assert [list(each.round()) for each in consumers] == [[], [], []]
    clock.go_on(hours=0.2)
    assert sum(consumers[2].round()) == 21
    assert [list(each.round()) for each in consumers] == [[], [], []]


def test_nobody_else_begins_while_one_is_at_it(consumers: list[Upkeep], migrated_url: str, clock: Clock) -> None:
    first = consumers[0].round()
    assert next(first) == 0
    assert list(consumers[1].round()) == []
    for _ in range(3):  # for longer than a lease, but it says that it is there
        clock.go_on(minutes=5)
        next(first)
        assert list(consumers[1].round()) == []
    assert sum(first) + 21 - left(migrated_url) >= 21
    assert left(migrated_url) == 0


def test_round_that_is_left_is_gone_on_with_by_another(consumers: list[Upkeep], migrated_url: str) -> None:
    first = consumers[0].round()
    deleted = 0
    while deleted < 8:
        deleted += next(first)
    first.close()
    owner, leased_until, position, began_at = row(migrated_url)
    assert (owner, leased_until, began_at) == (None, None, NOON)
    assert position is not None
    assert scalars(migrated_url, f"SELECT count(*) FROM device_history WHERE raspberry_id <= '{position}'") == [0]
    assert deleted + sum(consumers[1].round()) == 21
    assert left(migrated_url) == 0
    assert row(migrated_url) == (None, None, None, NOON)


def test_one_that_ended_without_a_word_is_waited_for_and_then_replaced(
    consumers: list[Upkeep], migrated_url: str, clock: Clock
) -> None:
    dead = consumers[0].round()
    next(dead)
    clock.go_on(minutes=9)
    assert list(consumers[1].round()) == []
    clock.go_on(minutes=2)
    assert sum(consumers[1].round()) == 21
    # Should it only have slept, it finds that it has been replaced, and changes nothing.
    after = row(migrated_url)
    assert list(dead) == []
    assert row(migrated_url) == after


def test_one_that_slept_too_long_leaves_the_round_to_its_successor(
    consumers: list[Upkeep], migrated_url: str, clock: Clock
) -> None:
    sleeper = consumers[0].round()
    next(sleeper)
    clock.go_on(minutes=11)
    successor = consumers[1].round()
    next(successor)
    before = row(migrated_url)
    assert sum(sleeper) < 21
    assert row(migrated_url) == before
    assert sum(successor) > 0
    assert left(migrated_url) == 0


@pytest.mark.parametrize("years", [-30, 30])
def test_clock_that_was_wrong_stops_nobody_for_long(
    consumers: list[Upkeep], migrated_url: str, clock: Clock, years: int
) -> None:
    clock.go_on(days=365 * years)
    wrong = consumers[0].round()
    next(wrong)
    clock.now = NOON
    assert sum(consumers[1].round()) == 21
    fill(migrated_url)
    clock.go_on(days=1)
    assert sum(consumers[1].round()) == 21


def test_age_is_judged_by_the_clock_of_the_database(migrated_url: str, consumers: list[Upkeep]) -> None:
    engine = create_engine(migrated_url, writer=True)
    with engine.begin() as connection:
        assert abs(_database_time(connection) - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert sum(Upkeep(engine, bytes(8), timedelta(days=3650)).round()) == 0
    engine.dispose()
    assert left(migrated_url) == 21


def test_only_whole_hours_become_figures(migrated_url: str, clock: Clock, consumers: list[Upkeep]) -> None:
    clock.now = datetime(2026, 1, 31, 12, 2, tzinfo=timezone.utc)
    assert scalars(migrated_url, "SELECT count(*) FROM device_history WHERE reported_at < '2026-01-01 12:02'") == [14]
    assert sum(consumers[0].round()) == 0
    clock.now = datetime(2026, 2, 1, 13, 0, tzinfo=timezone.utc)
    assert sum(consumers[0].round()) == 21


def test_many_at_once_delete_each_report_once(migrated_url: str, consumers: list[Upkeep]) -> None:
    deleted: list[int] = []
    failed: list[BaseException] = []

    def work(each: Upkeep) -> None:
        try:
            deleted.extend(each.round())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(each,)) for each in consumers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert sum(deleted) == 21
    assert left(migrated_url) == 0
    assert scalars(migrated_url, "SELECT sum(reports) FROM device_history_hourly") == [21]


def test_database_without_tables_is_an_error_that_leaves_nothing(database_url: str) -> None:
    engine = create_engine(database_url, writer=True)
    each = Upkeep(engine, bytes(8), KEEP)
    with pytest.raises(errors.DatabaseError):
        next(each.round())
    each.close()


# ── The installed command ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def old_and_new(migrated_url: str) -> str:
    """A database with 40 days of a device's reports, one a day."""
    now = datetime.now(timezone.utc)
    minutes = [(now - FIRST_MINUTE - timedelta(days=age)) / timedelta(minutes=1) for age in range(40)]
    engine = create_engine(migrated_url, writer=True)
    store = Store(engine)
    assert store.write([report({"id": "pi"}, minute=minute, received=minute) for minute in minutes]) == []
    store.close()
    return migrated_url


def test_consume_deletes_what_is_older_than_the_retention(amqp: Amqp, cli: Cli, old_and_new: str) -> None:
    amqp.declare()
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": old_and_new, "RPI_HEALTH_RETENTION": "10d"}
    running = [Consuming(cli, env) for _ in range(3)]
    wait_until(lambda: any(each.events("pruned") for each in running), 30, "old reports to be deleted")
    assert left(old_and_new) in (10, 11)  # up to the full hour
    assert scalars(old_and_new, "SELECT sum(reports) FROM device_history_hourly") == [40 - left(old_and_new)]
    for each in running:
        each.wait_for("consuming")  # one that is stopped before has nothing to tell
        each.stop()
    assert sum(event["reports"] for each in running for event in each.events("pruned")) == 40 - left(old_and_new)
    assert row(old_and_new)[:3] == (None, None, None)


def test_consume_that_is_to_keep_all_deletes_nothing(amqp: Amqp, cli: Cli, old_and_new: str) -> None:
    amqp.declare()
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": old_and_new, "RPI_HEALTH_RETENTION": "0"}
    consuming = Consuming(cli, env)
    consuming.wait_for("consuming")
    consuming.stop()
    assert row(old_and_new) == (None, None, None, None)
    assert left(old_and_new) == 40


def test_messages_are_stored_while_old_reports_are_deleted(amqp: Amqp, cli: Cli, migrated_url: str) -> None:
    engine = create_engine(migrated_url, writer=True)
    store = Store(engine)
    for day in range(5):
        minutes = range(1440 * day, 1440 * (day + 1))
        assert store.write([report({"id": f"pi-{n % 100}"}, minute=n) for n in minutes]) == []
    store.close()
    amqp.declare()
    amqp.publish([{"id": f"pi-{n % 100}", "number": n} for n in range(3000)])
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": migrated_url}
    consuming = Consuming(cli, env)
    wait_until(lambda: amqp.counts()[0] == 0 and left(migrated_url) == 3000, 60, "the old to go and the new to come")
    assert consuming.stop()["stored"] == 3000
    assert (left(migrated_url), consuming.events("database_held")) == (3000, [])
    assert scalars(migrated_url, "SELECT sum(reports) FROM device_history_hourly") == [7200]
