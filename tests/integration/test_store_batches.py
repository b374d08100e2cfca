"""How the store writes a batch, on each database: all at once, in the order of the keys, or not at all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from rpi_health import errors, migrations
from rpi_health.database import create_engine
from rpi_health.models import DeviceHistory, DeviceStatus
from rpi_health.store import Store
from tests.reports import count_rows, report, rows
from tests.waiting import wait_until


@pytest.fixture
def engine(migrated_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(migrated_url, writer=True)
    yield engine
    engine.dispose()


def test_batch_is_one_transaction_even_if_all_of_it_is_of_one_device(engine: sa.Engine, migrated_url: str) -> None:
    commits: list[sa.Connection] = []
    sa.event.listen(engine, "commit", commits.append)
    store = Store(engine)
    same = [report({"cpu_percent": number}, minute=number / 60) for number in range(100)]
    assert store.write(same) == []
    store.close()
    assert len(commits) == 1
    assert count_rows(migrated_url, DeviceHistory) == 100


def test_redelivered_reports_are_no_refusal(engine: sa.Engine, migrated_url: str) -> None:
    """A report that is refused is dead-lettered, and one that is stored already is all right."""
    store = Store(engine)
    dated = [report({"id": f"pi-{number}"}, minute=1) for number in range(5)]
    named = [report({"id": f"pi-{number}"}, message_id="m1") for number in range(5)]
    for _ in range(3):
        assert store.write([*dated, *named, *dated]) == []
    store.close()
    assert count_rows(migrated_url, DeviceHistory) == 10


def test_devices_are_written_in_the_order_of_their_ids(engine: sa.Engine, migrated_url: str) -> None:
    """Writers that lock rows in different orders deadlock. Keys that are given out as the rows come tell the order."""
    store = Store(engine)
    store.write([report({"id": f"pi-{number * 7 % 20:02}"}, minute=1) for number in range(20)])
    store.close()
    table = DeviceStatus.__table__
    with rows(migrated_url) as connection:
        devices = list(connection.scalars(sa.select(table.c.raspberry_id).order_by(table.c.id)))
    assert devices == sorted(devices)
    assert len(devices) == 20


def test_history_is_written_in_the_order_of_its_keys(sqlite_url: str) -> None:
    """Here and on MySQL, row by row. For PostgreSQL's one statement, see `tests/unit/test_upsert.py`."""
    migrations.upgrade(sqlite_url)
    engine = create_engine(sqlite_url, writer=True)
    statements: list[str] = []

    @sa.event.listens_for(engine, "connect")
    def trace(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(statements.append)

    store = Store(engine)
    minutes = [number * 7 % 60 for number in range(60)]
    store.write([report({"id": f"pi-{minute % 20:02}"}, minute=minute) for minute in minutes])
    store.close()
    keys = [re.search(r"\('(pi-\d+)',\s*'([^']*)'", each) for each in statements if "INTO device_history" in each]
    found = [key.groups() for key in keys if key]
    assert found == sorted(found)
    assert len(found) == 60


def test_database_that_is_busy_refuses_no_report(sqlite_url: str) -> None:
    migrations.upgrade(sqlite_url)
    other, engine = create_engine(sqlite_url, writer=True), create_engine(f"{sqlite_url}?timeout=0.1", writer=True)
    store = Store(engine)
    with other.begin(), pytest.raises(errors.DatabaseUnavailable, match="locked"):
        store.write([report({}, minute=1), report({}, minute=2)])
    assert count_rows(sqlite_url, DeviceHistory) == 0
    assert store.write([report({}, minute=1), report({}, minute=2)]) == []
    assert count_rows(sqlite_url, DeviceHistory) == 2
    store.close()
    other.dispose()


def test_next_state_of_a_device_changes_no_index_on_postgresql(postgresql_url: str) -> None:
    """The versions of a row share a page, as long as there is room on it; see the migration 0002."""
    migrations.upgrade(postgresql_url)
    engine = create_engine(postgresql_url, writer=True)
    store = Store(engine)
    for minute in range(20):
        store.write([report({"id": f"pi-{number:03}"}, minute=minute) for number in range(200)])
    store.close()
    query = sa.text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'device_status'")

    def counts() -> tuple[int, int]:
        with rows(postgresql_url) as connection:
            updated, without_index = connection.execute(query).one()
        return updated, without_index

    wait_until(lambda: counts()[0] == 19 * 200, 15, "the server's statistics")
    assert counts()[1] > 0.9 * 19 * 200
