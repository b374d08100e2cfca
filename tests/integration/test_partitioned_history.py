"""The history in partitions by time, made as docs/scaling.md has it, is written like any other."""

from __future__ import annotations

import sqlalchemy as sa

from rpi_health import migrations, schema
from rpi_health.database import create_engine
from rpi_health.models import DeviceHistory
from rpi_health.store import Store
from tests.pages import ROOT, blocks_of
from tests.reports import count_rows, report
from tests.schema import run, scalars

(STATEMENTS,) = [block.text for block in blocks_of(ROOT / "docs" / "scaling.md") if block.language == "sql"]


def write(url: str, minutes: list[int]) -> None:
    engine = create_engine(url, writer=True)
    store = Store(engine)
    assert store.write([report({"id": f"pi-{minute}"}, minute=minute) for minute in minutes]) == []
    store.close()


def test_partitions_keep_what_is_there_and_take_what_comes_once(postgresql_url: str) -> None:
    migrations.upgrade(postgresql_url)
    write(postgresql_url, [1, 2, 3])
    run(postgresql_url, *(part for part in STATEMENTS.split(";\n") if part.strip() not in ("", "BEGIN", "COMMIT")))
    write(postgresql_url, [3, 4])
    assert count_rows(postgresql_url, DeviceHistory) == 4
    schema.check(postgresql_url)
    assert str(migrations.upgrade(postgresql_url)).startswith("The tables are up to date")


def test_month_can_be_dropped(postgresql_url: str) -> None:
    migrations.upgrade(postgresql_url)
    run(postgresql_url, *(part for part in STATEMENTS.split(";\n") if part.strip() not in ("", "BEGIN", "COMMIT")))
    table = DeviceHistory.__table__
    engine = create_engine(postgresql_url)
    with engine.begin() as connection:
        december = report({"id": "pi-1"}, minute=1).received_at.replace(year=2026, month=12)
        row = {"raspberry_id": "pi-1", "reported_at": december, "digest": b"0" * 16, "received_at": december}
        connection.execute(sa.insert(table).values(row))
    engine.dispose()
    assert scalars(postgresql_url, "SELECT count(*) FROM device_history_2026_12") == [1]
    run(postgresql_url, "DROP TABLE device_history_2026_12")
    assert count_rows(postgresql_url, DeviceHistory) == 0
