"""What `init-db` promises to those who come from the example's code: every row is kept, on each database."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Boolean, Column, DateTime, Float, Integer, Text
from sqlalchemy.orm import declarative_base

from rpi_health import errors, migrations, schema
from rpi_health.models import DeviceStatus
from tests.schema import assert_models_equal_tables, connected, cut_off_at, run, scalars, tables

NOON = datetime(2024, 2, 29, 12, 0, 0, 250000)
EXAMPLE = {
    "raspberry_id": "raspberry-01",
    "wifi_status": "connected",
    "mem_usage": "512 MB",
    "cpu_temp": "48°C",
    "led_internal_status": True,
    "cpu_percent": 12.5,
    "gpio_used_count": 3,
    "spi_buses": '["spi0.0"]',
    "i2c_buses": '["i2c-1"]',
    "usb_devices_count": 2,
    "net_bytes_sent": 102400,
    "net_bytes_recv": 204800,
    "net_ifaces": '[{"name": "wlan0", "ip": "192.168.0.10"}]',
    "last_update": NOON,
}
SEED_COLUMNS = [column.name for column in DeviceStatus.__table__.columns][:16]
DERIVED_COLUMNS = [column.name for column in DeviceStatus.__table__.columns][16:]


def example_table(url: str) -> sa.Table:
    """The example's model, letter for letter. MySQL and MariaDB create no String without a length."""
    Base: Any = declarative_base()  # noqa: N806
    String: Any = sa.String(255) if url.startswith("mysql") else sa.String  # noqa: N806

    class DeviceStatus(Base):
        __tablename__ = "device_status"

        id = Column(Integer, primary_key=True, index=True)
        raspberry_id = Column(String, unique=True, index=True, nullable=False)
        wifi_status = Column(String)
        mem_usage = Column(String)
        cpu_temp = Column(String)
        led_internal_status = Column(Boolean, default=False)
        led_external_status = Column(Boolean, default=False)
        # Campos opcionais suportados pelo código:
        cpu_percent = Column(Float, nullable=True)
        gpio_used_count = Column(Integer, nullable=True)
        spi_buses = Column(Text, nullable=True)  # pode armazenar JSON string
        i2c_buses = Column(Text, nullable=True)  # pode armazenar JSON string
        usb_devices_count = Column(Integer, nullable=True)
        net_bytes_sent = Column(Integer, nullable=True)
        net_bytes_recv = Column(Integer, nullable=True)
        net_ifaces = Column(Text, nullable=True)  # armazena JSON string
        last_update = Column(DateTime, default=datetime.utcnow)

    table: sa.Table = DeviceStatus.__table__
    return table


def create(url: str, table: sa.Table, *rows: dict[str, Any]) -> None:
    with connected(url) as connection:
        table.create(connection)
        for row in rows:
            connection.execute(sa.insert(table).values({"last_update": None, **row}))


def adopted(url: str) -> list[dict[str, Any]]:
    with connected(url) as connection:
        query = sa.select(DeviceStatus.__table__).order_by(DeviceStatus.id)
        return [dict(row) for row in connection.execute(query).mappings()]


def minimal_table(*columns: Column[Any]) -> sa.Table:
    """What somebody may have made of the example: without the optional columns, with some of their own."""
    return sa.Table(
        "device_status",
        sa.MetaData(),
        Column("id", Integer, primary_key=True, index=True),
        Column("raspberry_id", sa.String(200), unique=True, index=True, nullable=False),
        Column("last_update", DateTime),
        *columns,
    )


def test_example_row_is_kept_with_its_values(database_url: str) -> None:
    create(database_url, example_table(database_url), EXAMPLE)
    assert str(migrations.upgrade(database_url)).endswith("kept 1 row of the device_status that was there.")
    (row,) = adopted(database_url)
    assert {name: row[name] for name in SEED_COLUMNS} == {
        **EXAMPLE,
        "id": 1,
        "led_external_status": False,
        "spi_buses": ["spi0.0"],
        "i2c_buses": ["i2c-1"],
        "net_ifaces": [{"name": "wlan0", "ip": "192.168.0.10"}],
        "last_update": NOON.replace(tzinfo=timezone.utc) if "mysql" not in database_url else _whole_second(NOON),
    }
    assert {name: row[name] for name in DERIVED_COLUMNS} == dict.fromkeys(DERIVED_COLUMNS)


def _whole_second(instant: datetime) -> datetime:
    # MySQL's DATETIME without digits, as the example makes it, rounds.
    return instant.replace(microsecond=0, tzinfo=timezone.utc)


def test_adopted_table_is_the_one_of_the_models(database_url: str) -> None:
    create(database_url, example_table(database_url), EXAMPLE)
    migrations.upgrade(database_url)
    assert_models_equal_tables(database_url)
    assert "device_status_before_rpi_health" not in tables(database_url)
    assert migrations.upgrade(database_url).adopted_rows is None


def test_empty_example_table_is_adopted(database_url: str) -> None:
    create(database_url, example_table(database_url))
    assert migrations.upgrade(database_url).adopted_rows == 0
    assert_models_equal_tables(database_url)


def test_check_says_that_rows_will_be_kept(database_url: str) -> None:
    create(database_url, example_table(database_url), EXAMPLE)
    with pytest.raises(errors.SchemaNotCurrent, match=r"run `rpi-health init-db`, which keeps its rows"):
        schema.check(database_url)


def test_row_with_nothing_but_its_id_is_kept(database_url: str) -> None:
    create(database_url, example_table(database_url), {"raspberry_id": "pi", "led_internal_status": None})
    migrations.upgrade(database_url)
    (row,) = adopted(database_url)
    given = {"id": 1, "raspberry_id": "pi", "led_external_status": False}
    assert row == {**dict.fromkeys(row), **given}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("wlan0 192.168.0.10", "wlan0 192.168.0.10"),
        ("", ""),
        ("['spi0.0']", "['spi0.0']"),
        ("null", None),
        ('"text"', "text"),
        ('{"load": NaN, "peak": -Infinity, "sum": 1e999}', {"load": None, "peak": None, "sum": None}),
        ('["a\\u0000b", "\\ud800"]', ["ab", "?"]),
        ('{"big": 123456789012345678}', {"big": 123456789012345678}),
    ],
)
def test_text_becomes_json(database_url: str, text: str, value: object) -> None:
    create(database_url, example_table(database_url), {"raspberry_id": "pi", "net_ifaces": text})
    migrations.upgrade(database_url)
    assert [row["net_ifaces"] for row in adopted(database_url)] == [value]


@pytest.mark.parametrize("depth", [100, 10_000])
def test_json_too_deep_for_a_database_is_kept_as_text(database_url: str, depth: int) -> None:
    text = "[" * depth + "]" * depth
    create(database_url, example_table(database_url), {"raspberry_id": "pi", "net_ifaces": text})
    migrations.upgrade(database_url)
    (row,) = adopted(database_url)
    while isinstance(row["net_ifaces"], list):
        (row["net_ifaces"],) = row["net_ifaces"]
    assert set(row["net_ifaces"]) == {"[", "]"}


def test_text_over_the_length_of_its_column_is_cut(database_url: str) -> None:
    long = {"wifi_status": "w" * 255, "mem_usage": "m" * 200, "cpu_temp": "°" * 65}
    create(database_url, example_table(database_url), {"raspberry_id": "pi", **long})
    migrations.upgrade(database_url)
    (row,) = adopted(database_url)
    assert (row["wifi_status"], row["mem_usage"], row["cpu_temp"]) == ("w" * 255, "m" * 64, "°" * 64)


def test_table_without_the_optional_columns_is_adopted(database_url: str) -> None:
    create(database_url, minimal_table(), {"raspberry_id": "pi", "last_update": NOON.replace(microsecond=0)})
    assert migrations.upgrade(database_url).adopted_rows == 1
    (row,) = adopted(database_url)
    assert (row["raspberry_id"], row["last_update"]) == ("pi", _whole_second(NOON))
    assert (row["led_internal_status"], row["cpu_percent"], row["net_ifaces"]) == (False, None, None)


def test_columns_of_somebody_elses_go_into_extra(database_url: str) -> None:
    own = {
        "location": "telhado ☀",
        "installed_at": datetime(2020, 1, 2, 3, 4, 5),
        "serviced_on": datetime(2021, 1, 2).date(),
        "price": Decimal("35.50"),
        "weight": 46.25,
        "serial": b"\x00\xff",
        "active": True,
        "extra": "their own",
        "first_seen": "last summer",
        "empty": None,
    }
    types = [sa.String(50), DateTime(), sa.Date(), sa.Numeric(8, 2), Float(), sa.LargeBinary(8), Boolean()]
    types += [sa.String(50), sa.String(50), sa.String(50)]
    table = minimal_table(*(Column(name, kind) for name, kind in zip(own, types)))
    create(database_url, table, {"raspberry_id": "pi", **own})
    migrations.upgrade(database_url)
    (row,) = adopted(database_url)
    assert row["first_seen"] is None
    extra = row["extra"]
    assert float(extra.pop("price")) == 35.5
    assert extra.pop("active") in (True, 1)  # MySQL and SQLite have no booleans of their own
    installed_at = datetime.fromisoformat(extra.pop("installed_at"))
    assert installed_at == own["installed_at"]
    assert extra == {
        "location": "telhado ☀",
        "serviced_on": "2021-01-02",
        "weight": 46.25,
        "serial": "00ff",
        "extra": "their own",
        "first_seen": "last summer",
    }


def test_value_that_does_not_fit_its_column_goes_into_extra(database_url: str) -> None:
    columns = {
        "gpio_used_count": 3_000_000_000,
        "net_bytes_sent": 9_000_000_000_000,
        "usb_devices_count": 1.5,
        "cpu_percent": "12.5 %",
        "led_internal_status": "on",
        "led_external_status": "blinking",
        "cpu_temp": 48.5,
    }
    types = [sa.BigInteger(), sa.BigInteger(), Float(), *[sa.String(20)] * 3, Float()]
    table = minimal_table(*(Column(name, kind) for name, kind in zip(columns, types)))
    create(database_url, table, {"raspberry_id": "pi", **columns})
    migrations.upgrade(database_url)
    (row,) = adopted(database_url)
    assert (row["net_bytes_sent"], row["led_internal_status"], row["cpu_temp"]) == (9_000_000_000_000, True, "48.5")
    lost = ("gpio_used_count", "usb_devices_count", "cpu_percent", "led_external_status")
    assert [row[name] for name in lost] == [None] * 4
    assert row["extra"] == {name: columns[name] for name in lost}


def test_number_that_is_none_becomes_null(postgresql_url: str) -> None:
    create(postgresql_url, example_table(postgresql_url), {"raspberry_id": "pi", "cpu_percent": math.nan})
    migrations.upgrade(postgresql_url)
    assert [(row["cpu_percent"], row["extra"]) for row in adopted(postgresql_url)] == [(None, None)]


def test_aware_instant_becomes_utc(postgresql_url: str) -> None:
    table = sa.Table(
        "device_status",
        sa.MetaData(),
        Column("id", Integer, primary_key=True),
        Column("raspberry_id", sa.String),
        Column("last_update", DateTime(timezone=True)),
    )
    in_sao_paulo = NOON.replace(tzinfo=timezone(timedelta(hours=-3)))
    create(postgresql_url, table, {"raspberry_id": "pi", "last_update": in_sao_paulo})
    migrations.upgrade(postgresql_url)
    assert [row["last_update"] for row in adopted(postgresql_url)] == [in_sao_paulo]


def test_instant_in_a_form_of_its_own_is_kept(sqlite_url: str) -> None:
    table = minimal_table()
    create(sqlite_url, table)
    with connected(sqlite_url) as connection:
        for device, text in (("a", "2024-02-29T12:00:00Z"), ("b", "yesterday")):
            row = {"device": device, "text": text}
            insert = "INSERT INTO device_status (raspberry_id, last_update) VALUES (:device, :text)"
            connection.execute(sa.text(insert), row)
    migrations.upgrade(sqlite_url)
    kept = [(row["last_update"], row["extra"]) for row in adopted(sqlite_url)]
    assert kept == [(_whole_second(NOON), None), (None, {"last_update": "yesterday"})]


def test_ids_are_kept_and_go_on_in_64_bits(database_url: str) -> None:
    rows = [{"id": number, "raspberry_id": f"pi-{number}"} for number in (7, 3, 2**31 - 1)]
    create(database_url, example_table(database_url), *rows)
    migrations.upgrade(database_url)
    with connected(database_url) as connection:
        connection.execute(sa.insert(DeviceStatus).values(raspberry_id="new"))
    ids = {row["raspberry_id"]: row["id"] for row in adopted(database_url)}
    assert ids == {"pi-3": 3, "pi-7": 7, f"pi-{2**31 - 1}": 2**31 - 1, "new": 2**31}


def test_postgresql_names_are_those_of_a_new_table(postgresql_url: str) -> None:
    create(postgresql_url, example_table(postgresql_url), EXAMPLE)
    migrations.upgrade(postgresql_url)
    assert scalars(postgresql_url, "SELECT sequencename || ' ' || data_type FROM pg_sequences") == [
        "device_status_id_seq bigint"
    ]
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'device_status' ORDER BY 1"
    assert scalars(postgresql_url, indexes) == ["device_status_pkey", "ix_device_status_raspberry_id"]


def test_more_rows_than_a_chunk_are_all_kept(database_url: str) -> None:
    table = example_table(database_url)
    create(database_url, table)
    with connected(database_url) as connection:
        rows = [{**EXAMPLE, "id": 2 * number, "raspberry_id": f"pi-{number}"} for number in range(1, 1202)]
        connection.execute(sa.insert(table), rows)
    said: list[str] = []
    assert migrations.upgrade(database_url, say=said.append).adopted_rows == 1201
    assert [row["raspberry_id"] for row in adopted(database_url)] == [f"pi-{number}" for number in range(1, 1202)]
    assert said == ["Adopting the rows of the device_status that is there …"]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE device_status RENAME",
        "CREATE TABLE device_status",
        "CREATE UNIQUE INDEX ix_device_status",
        "INSERT INTO device_status",
        "DROP TABLE device_status_before_rpi_health",
        "INSERT INTO rpi_health_alembic_version",
    ],
)
def test_adoption_that_is_cut_off_loses_no_row(database_url: str, statement: str) -> None:
    create(database_url, example_table(database_url), EXAMPLE, {**EXAMPLE, "raspberry_id": "raspberry-02"})
    with cut_off_at(statement):
        migrations.upgrade(database_url)
    if "mysql" not in database_url:
        assert tables(database_url) == {"device_status"}
    migrations.upgrade(database_url)
    assert [row["raspberry_id"] for row in adopted(database_url)] == ["raspberry-01", "raspberry-02"]
    assert_models_equal_tables(database_url)


def test_row_that_was_copied_before_the_cut_is_not_copied_again(mariadb_url: str) -> None:
    create(mariadb_url, example_table(mariadb_url), EXAMPLE, {**EXAMPLE, "raspberry_id": "raspberry-02"})
    with cut_off_at("DROP TABLE device_status_before_rpi_health"):
        migrations.upgrade(mariadb_url)
    run(mariadb_url, "INSERT INTO device_status (id, raspberry_id) VALUES (2, 'raspberry-02')")
    migrations.upgrade(mariadb_url)
    assert [row["raspberry_id"] for row in adopted(mariadb_url)] == ["raspberry-01", "raspberry-02"]


def test_device_id_that_cannot_be_kept_is_named_and_nothing_is_touched(database_url: str) -> None:
    table = example_table(database_url)
    create(database_url, table, EXAMPLE, {"raspberry_id": "x" * 129})
    message = r"row of device_status with id 2 has a raspberry_id of 129 characters.*change or delete that row"
    with pytest.raises(errors.DatabaseMisconfigured, match=message):
        migrations.upgrade(database_url)
    assert tables(database_url) == {"device_status"}
    with connected(database_url) as connection:
        kept = connection.execute(sa.select(table.c.net_ifaces).order_by(table.c.id)).scalars().all()
    assert kept == [EXAMPLE["net_ifaces"], None]


def test_device_that_has_two_rows_is_named(database_url: str) -> None:
    columns = [Column("id", Integer, primary_key=True), Column("raspberry_id", sa.String(50))]
    rows = [{"raspberry_id": device} for device in ("PI-1", "pi-1", "pi-2", "pi-1")]
    table = sa.Table("device_status", sa.MetaData(), *columns)
    with connected(database_url) as connection:
        table.create(connection)
        connection.execute(sa.insert(table), rows)
    with pytest.raises(errors.DatabaseMisconfigured, match="with id 4 has the raspberry_id of the row with id 2"):
        migrations.upgrade(database_url)
    with connected(database_url) as connection:
        connection.execute(sa.delete(table).where(table.c.id == 4))
    migrations.upgrade(database_url)
    assert [row["raspberry_id"] for row in adopted(database_url)] == ["PI-1", "pi-1", "pi-2"]


@pytest.mark.parametrize("columns", ["id INTEGER PRIMARY KEY, name VARCHAR(10)", "raspberry_id VARCHAR(10)"])
def test_table_of_another_kind_is_refused(database_url: str, columns: str) -> None:
    run(database_url, f"CREATE TABLE device_status ({columns})")
    with pytest.raises(errors.DatabaseMisconfigured, match="without columns id and raspberry_id: rename it"):
        migrations.upgrade(database_url)
    assert tables(database_url) == {"device_status"}


def test_foreign_key_to_the_table_is_named(database_url: str) -> None:
    create(database_url, example_table(database_url), EXAMPLE)
    key = "device_id INTEGER, FOREIGN KEY (device_id) REFERENCES device_status (id)"
    run(database_url, f"CREATE TABLE alarms (id INTEGER PRIMARY KEY, {key})")
    with pytest.raises(errors.DatabaseMisconfigured, match="The table alarms has a foreign key to device_status"):
        migrations.upgrade(database_url)
    assert tables(database_url) == {"device_status", "alarms"}


@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
def test_view_of_the_table_shows_the_new_one(request: pytest.FixtureRequest, kind: str) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    create(url, example_table(url), EXAMPLE)
    run(url, "CREATE VIEW hot AS SELECT raspberry_id FROM device_status WHERE cpu_percent > 10")
    migrations.upgrade(url)
    assert scalars(url, "SELECT raspberry_id FROM hot") == ["raspberry-01"]


def test_view_on_postgresql_is_named_and_nothing_is_touched(postgresql_url: str) -> None:
    create(postgresql_url, example_table(postgresql_url), EXAMPLE)
    run(postgresql_url, "CREATE VIEW hot AS SELECT raspberry_id FROM device_status WHERE cpu_percent > 10")
    with pytest.raises(errors.DatabaseMisconfigured, match=r"view hot depends on.*drop what depends on the table"):
        migrations.upgrade(postgresql_url)
    assert tables(postgresql_url) == {"device_status"}
