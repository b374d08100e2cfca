"""The first tables. A device_status that is there already is adopted: every row is kept.

Revision ID: 0001
Revises:

Frozen: it must stay what it is when the models move on, and therefore knows nothing of them.

MySQL and MariaDB commit each CREATE and RENAME, so each step there looks at what it finds: a migration that was cut off
goes on where it was. SQLite and PostgreSQL do all or nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timezone
from typing import Any, Optional

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql, postgresql

from rpi_health.errors import DatabaseMisconfigured

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATUS = "device_status"
BEFORE = "device_status_before_rpi_health"
CHUNK_ROWS = 500
DEVICE_ID_LENGTH = 128

MYSQL = ("mysql", "mariadb")
DEVICE_ID = (
    sa.String(DEVICE_ID_LENGTH)
    .with_variant(postgresql.VARCHAR(DEVICE_ID_LENGTH, collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(DEVICE_ID_LENGTH, charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL)
)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *MYSQL)
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
DIGEST = sa.LargeBinary(16).with_variant(mysql.BINARY(16), *MYSQL)
TOKEN = sa.LargeBinary(8).with_variant(mysql.BINARY(8), *MYSQL)

OPTIONS: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in MYSQL
    for name, value in {"engine": "InnoDB", "charset": "utf8mb4", "row_format": "DYNAMIC"}.items()
}
CLUSTERED = {**OPTIONS, "sqlite_with_rowid": False}

METADATA = sa.MetaData()

DEVICE_STATUS = sa.Table(
    STATUS,
    METADATA,
    sa.Column("id", ID, primary_key=True),
    sa.Column("raspberry_id", DEVICE_ID, nullable=False),
    sa.Column("wifi_status", sa.String(255)),
    sa.Column("mem_usage", sa.String(64)),
    sa.Column("cpu_temp", sa.String(64)),
    sa.Column("led_internal_status", sa.Boolean(), server_default=sa.false()),
    sa.Column("led_external_status", sa.Boolean(), server_default=sa.false()),
    sa.Column("cpu_percent", sa.Double()),
    sa.Column("gpio_used_count", sa.Integer()),
    sa.Column("spi_buses", JSON),
    sa.Column("i2c_buses", JSON),
    sa.Column("usb_devices_count", sa.Integer()),
    sa.Column("net_bytes_sent", sa.BigInteger()),
    sa.Column("net_bytes_recv", sa.BigInteger()),
    sa.Column("net_ifaces", JSON),
    sa.Column("last_update", INSTANT),
    sa.Column("first_seen", INSTANT),
    sa.Column("reported_at", INSTANT),
    sa.Column("cpu_temp_celsius", sa.Double()),
    sa.Column("mem_used_bytes", sa.BigInteger()),
    sa.Column("mem_percent", sa.Double()),
    sa.Column("interval_s", sa.Double()),
    sa.Column("extra", JSON),
    sa.Column("report_warnings", JSON),
    sa.Column("reported_fields", sa.BigInteger()),
    sa.Index("ix_device_status_raspberry_id", "raspberry_id", unique=True),
    **OPTIONS,
)
sa.Table(
    "device_history",
    METADATA,
    sa.Column("raspberry_id", DEVICE_ID, primary_key=True),
    sa.Column("reported_at", INSTANT, primary_key=True),
    sa.Column("digest", DIGEST, primary_key=True),
    sa.Column("received_at", INSTANT, nullable=False),
    sa.Column("wifi_status", sa.String(255)),
    sa.Column("mem_usage", sa.String(64)),
    sa.Column("cpu_temp", sa.String(64)),
    sa.Column("led_internal_status", sa.Boolean()),
    sa.Column("led_external_status", sa.Boolean()),
    sa.Column("cpu_percent", sa.Double()),
    sa.Column("gpio_used_count", sa.Integer()),
    sa.Column("usb_devices_count", sa.Integer()),
    sa.Column("net_bytes_sent", sa.BigInteger()),
    sa.Column("net_bytes_recv", sa.BigInteger()),
    sa.Column("cpu_temp_celsius", sa.Double()),
    sa.Column("mem_used_bytes", sa.BigInteger()),
    sa.Column("mem_percent", sa.Double()),
    sa.Column("interval_s", sa.Double()),
    **CLUSTERED,
)
sa.Table(
    "message_receipts",
    METADATA,
    sa.Column("raspberry_id", DEVICE_ID, primary_key=True),
    sa.Column("digest", DIGEST, primary_key=True),
    sa.Column("received_at", INSTANT, nullable=False),
    **CLUSTERED,
)
sa.Table(
    "poison_notes",
    METADATA,
    sa.Column("digest", DIGEST, primary_key=True),
    sa.Column("owner", TOKEN, primary_key=True),
    sa.Column("noted_at", INSTANT, nullable=False),
    **CLUSTERED,
)


def upgrade() -> None:
    connection = op.get_bind()
    _refuse_foreign_tables(connection)
    if _is_from_before(connection):
        _refuse_unless_adoptable(connection)
        _set_aside(connection)
    for table in METADATA.sorted_tables:
        _create_what_is_missing(connection, table)
    if _has_table(connection, BEFORE):
        context.config.attributes["adopted_rows"] = _adopt(connection)
        op.drop_table(BEFORE)


def downgrade() -> None:
    """Drop all tables of rpi-health, and the rows in them. What was adopted is not brought back."""
    for table in reversed(METADATA.sorted_tables):
        op.drop_table(table.name)


def _has_table(connection: sa.Connection, name: str) -> bool:
    return name in sa.inspect(connection).get_table_names()


def _columns(connection: sa.Connection, table: str) -> list[str]:
    return [column["name"] for column in sa.inspect(connection).get_columns(table)]


def _create_what_is_missing(connection: sa.Connection, table: sa.Table) -> None:
    if not _has_table(connection, table.name):
        table.create(connection)
        return
    present = {index["name"] for index in sa.inspect(connection).get_indexes(table.name)}
    for index in table.indexes:
        if index.name not in present:
            index.create(connection)


def _refuse_foreign_tables(connection: sa.Connection) -> None:
    for table in METADATA.sorted_tables:
        if table.name == STATUS or not _has_table(connection, table.name):
            continue
        if set(_columns(connection, table.name)) != set(table.columns.keys()):
            raise DatabaseMisconfigured(
                f"The database has a table {table.name} of another application: rename it, or give rpi-health a "
                "database of its own"
            )


# ── Adoption: what may be adopted, and out of the way with it ─────────────────────────────────────────────────────────


def _is_from_before(connection: sa.Connection) -> bool:
    if not _has_table(connection, STATUS):
        return False
    return set(_columns(connection, STATUS)) != set(DEVICE_STATUS.columns.keys())


def _refuse_unless_adoptable(connection: sa.Connection) -> None:
    """Raise before anything is touched, for MySQL and MariaDB cannot take it back."""
    if not {"id", "raspberry_id"} <= set(_columns(connection, STATUS)):
        raise DatabaseMisconfigured(
            f"The database has a table {STATUS} without columns id and raspberry_id: rename it, or give rpi-health a "
            "database of its own"
        )
    if _has_table(connection, BEFORE):
        raise DatabaseMisconfigured(
            f"The database has both {STATUS} and {BEFORE}, which a migration that was cut off had set aside: move the "
            "rows that count into one of them, and drop the other"
        )
    for (_schema, other), keys in sa.inspect(connection).get_multi_foreign_keys().items():
        if any(key["referred_table"] == STATUS for key in keys):
            raise DatabaseMisconfigured(
                f"The table {other} has a foreign key to {STATUS}, which rpi-health replaces: drop that key first"
            )
    first_of: dict[str, object] = {}
    pad = (
        " " if connection.dialect.name in MYSQL else ""
    )  # which ignore blanks at the end, even where they compare bytes
    for row in _rows(connection, STATUS, ["id", "raspberry_id"]):
        problem = _why_it_cannot_be_kept(row["id"], row["raspberry_id"], pad, first_of)
        if problem:
            raise DatabaseMisconfigured(
                f"The row of {STATUS} with id {row['id']!r} {problem}: change or delete that row, then run "
                "`rpi-health init-db` again. Nothing was changed"
            )


def _why_it_cannot_be_kept(row_id: object, device: object, pad: str, first_of: dict[str, object]) -> str | None:
    if type(row_id) is not int:
        return "has an id that is no integer"
    if not isinstance(device, str):
        return "has no text as raspberry_id"
    if len(device) > DEVICE_ID_LENGTH:
        return f"has a raspberry_id of {len(device)} characters, {DEVICE_ID_LENGTH} is the most"
    first = first_of.setdefault(device.rstrip(pad) if pad else device, row_id)
    return None if first == row_id else f"has the raspberry_id of the row with id {first!r}"


def _set_aside(connection: sa.Connection) -> None:
    """Rename the table, and free the names in its schema that the new one takes."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        # Views and triggers go on naming device_status: the new one.
        connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        op.rename_table(STATUS, BEFORE)
        connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")
        for index in sa.inspect(connection).get_indexes(BEFORE):
            op.drop_index(str(index["name"]), BEFORE)
        return
    op.rename_table(STATUS, BEFORE)
    if dialect == "postgresql":
        indexes = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = to_regclass(:name)"
        for number, index in enumerate(connection.scalars(sa.text(indexes), {"name": BEFORE}).all()):
            connection.exec_driver_sql(f"ALTER INDEX {index} RENAME TO before_rpi_health_{number}")
        sequence = connection.scalar(sa.func.pg_get_serial_sequence(BEFORE, "id"))
        if sequence:
            connection.exec_driver_sql(f"ALTER SEQUENCE {sequence} RENAME TO before_rpi_health_seq")


def _rows(connection: sa.Connection, table: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """All rows in chunks, in the driver's own types: a column may hold what its type does not promise."""
    source = sa.table(table, *map(sa.column, names))
    page = sa.select(source).order_by(source.c.id).limit(CHUNK_ROWS)
    rows = connection.execute(page).mappings().all()
    while rows:
        yield from map(dict, rows)
        rows = connection.execute(page.where(source.c.id > rows[-1]["id"])).mappings().all()


# ── Adoption: the rows ────────────────────────────────────────────────────────────────────────────────────────────────


def _adopt(connection: sa.Connection) -> int:
    """Copy every row that is not there yet. Returns their number."""
    there = set(connection.scalars(sa.select(DEVICE_STATUS.c.id)))
    aware = connection.dialect.name == "postgresql"
    chunk: list[dict[str, Any]] = []
    rows = 0
    _say(f"Adopting the rows of the {STATUS} that is there …")
    for row in _rows(connection, BEFORE, _columns(connection, BEFORE)):
        rows += 1
        if row["id"] not in there:
            chunk.append(_adopted(row, aware))
        if len(chunk) == CHUNK_ROWS:
            connection.execute(sa.insert(DEVICE_STATUS), chunk)
            chunk = []
    if chunk:
        connection.execute(sa.insert(DEVICE_STATUS), chunk)
    if aware:
        sequence = sa.func.pg_get_serial_sequence(STATUS, "id")
        newest = sa.func.max(DEVICE_STATUS.c.id)
        connection.execute(sa.select(sa.func.setval(sequence, newest)).having(newest >= 1))
    return rows


def _say(sentence: str) -> None:
    say: Optional[Callable[[str], object]] = context.config.attributes.get("say")
    if say is not None:
        say(sentence)


def _adopted(row: dict[str, Any], aware: bool) -> dict[str, Any]:
    """The new row. What has no column, or does not fit its column, goes into `extra`."""
    new: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in row.items():
        if name not in CONVERT:
            extra[name] = _plain(value)
            continue
        try:
            new[name] = None if value is None else CONVERT[name](value)
        except (ValueError, TypeError, ArithmeticError, LookupError):
            new[name], extra[name] = None, _plain(value)
    if new.get("last_update") and not aware:
        new["last_update"] = new["last_update"].replace(tzinfo=None)
    new["extra"] = {name: value for name, value in extra.items() if value is not None} or None
    return new


def _text(length: int) -> Callable[[Any], str]:
    return lambda value: str(_plain(str(value)))[:length]


def _flag(value: Any) -> bool:
    if value in (0, 1):
        return bool(value)
    return {"true": True, "t": True, "1": True, "on": True, "false": False, "f": False, "0": False, "off": False}[
        str(value).strip().lower()
    ]


def _number(value: Any) -> Optional[float]:
    number = float(value)
    return number if math.isfinite(number) else None


def _integer(bits: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        number = int(value)
        if not isinstance(value, str) and number != value:
            raise ValueError("not integral")
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise ValueError("out of range")
        return number

    return convert


def _json(value: Any) -> Any:
    """The example kept JSON as text. Text that is no JSON becomes a JSON string."""
    if isinstance(value, (bytes, memoryview)):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return _plain(value)
    return _plain(value)


def _instant(value: Any) -> datetime:
    """The example kept naive UTC."""
    instant = (
        value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip().replace("Z", "+00:00"))
    )
    return instant.replace(tzinfo=timezone.utc) if instant.tzinfo is None else instant.astimezone(timezone.utc)


def _plain(value: Any, depth: int = 0) -> Any:
    """What every database takes as JSON: no NaN, no NUL, no lone surrogate, no more than 30 levels."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (dict, list, tuple)) and depth == 30:
        return json.dumps(value, default=str)
    if isinstance(value, dict):
        return {_plain(str(name)): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value).replace("\0", "").encode("utf-8", "replace").decode()


CONVERT: dict[str, Callable[[Any], Any]] = {
    "id": int,
    "raspberry_id": str,
    "wifi_status": _text(255),
    "mem_usage": _text(64),
    "cpu_temp": _text(64),
    "led_internal_status": _flag,
    "led_external_status": _flag,
    "cpu_percent": _number,
    "gpio_used_count": _integer(32),
    "spi_buses": _json,
    "i2c_buses": _json,
    "usb_devices_count": _integer(32),
    "net_bytes_sent": _integer(64),
    "net_bytes_recv": _integer(64),
    "net_ifaces": _json,
    "last_update": _instant,
}
