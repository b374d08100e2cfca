"""A database moved from SQLite to PostgreSQL, as docs/tutorials/sqlite-to-postgresql.md has it, is the same one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from rpi_health import migrations
from rpi_health.database import create_engine
from rpi_health.errors import Rejection
from rpi_health.models import Base, ConsumerStatus, ConsumerUpkeep, DeviceHistory, DeviceStatus
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report
from rpi_health.store import Store
from tests.command import Cli
from tests.corpus import load, same
from tests.pages import ROOT, blocks_of
from tests.reports import EXAMPLE, count_rows, report, rows

PAGE = ROOT / "docs" / "tutorials" / "sqlite-to-postgresql.md"
(PROGRAM,) = [block.text for block in blocks_of(PAGE) if block.mark == "saved as move.py"]
OF_RUNNING_CONSUMERS = {ConsumerStatus.__tablename__, ConsumerUpkeep.__tablename__}
RECEIVED = datetime(2026, 1, 20, tzinfo=timezone.utc)
DAYS_19 = 19 * 24 * 60


def reports_of_the_corpus() -> Iterator[Report]:
    for number, case in enumerate(load(RECEIVED)):
        with contextlib.suppress(Rejection):
            yield decode(case.body, Envelope(RECEIVED, number.to_bytes(8, "big")))


def write(url: str, reports: list[Report]) -> None:
    engine = create_engine(url, writer=True)
    store = Store(engine)
    assert store.write(reports) == []
    store.close()


def content(url: str) -> dict[str, list[list[Any]]]:
    """All rows of all tables, but for what is about consumers that run."""
    tables = {name: table for name, table in Base.metadata.tables.items() if name not in OF_RUNNING_CONSUMERS}
    with rows(url) as connection:
        return {
            name: [list(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for name, table in tables.items()
        }


def move(sqlite_url: str, postgresql_url: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", PROGRAM, sqlite_url.replace("sqlite:///", "")]
    env = {"RPI_HEALTH_DATABASE_URL": postgresql_url}
    return subprocess.run(program, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def full(sqlite_url: str, cli: Cli) -> str:
    """An SQLite database with whatever the corpus leaves in one; and a receipt, and the figures of an hour."""
    migrations.upgrade(sqlite_url)
    early, undated = report({**EXAMPLE, "id": "early"}), report({"id": "undated"}, received=DAYS_19, message_id="one")
    write(sqlite_url, [early, undated, *reports_of_the_corpus()])
    env = {"RPI_HEALTH_DATABASE_URL": sqlite_url}
    assert cli("prune", "--older-than", "2026-01-10", env=env).returncode == 0
    return sqlite_url


def test_every_row_is_there_once(full: str, postgresql_url: str) -> None:
    migrations.upgrade(postgresql_url)
    for _ in range(2):
        done = move(full, postgresql_url)
        assert done.returncode == 0, done.stderr
        found = content(postgresql_url)
        assert same(found, content(full))  # JSONB writes out the digits of 1e308
    filled = {name for name, of_table in found.items() if of_table}
    assert filled >= {"device_status", "device_history", "device_history_hourly", "message_receipts"}


def test_new_device_gets_an_id_of_its_own(full: str, postgresql_url: str) -> None:
    migrations.upgrade(postgresql_url)
    assert move(full, postgresql_url).returncode == 0
    write(postgresql_url, [report({"id": "new here"})])
    assert count_rows(postgresql_url, DeviceStatus) == count_rows(full, DeviceStatus) + 1


def test_nothing_is_copied_where_a_consumer_has_begun(full: str, postgresql_url: str) -> None:
    migrations.upgrade(postgresql_url)
    write(postgresql_url, [report({"id": "new here"})])
    done = move(full, postgresql_url)
    assert (done.returncode, "Nothing was copied" in done.stderr) == (1, True)
    assert count_rows(postgresql_url, DeviceHistory) == 1
