"""The tables, as SQLAlchemy 2 models: their columns, types and keys on SQLite, PostgreSQL and MySQL/MariaDB.

Knows how each value is stored; not who writes it (`store`), who reads it (`fleet`) or how the tables come to be
(`migrations`). All instants are aware datetimes in UTC on this side of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, Optional

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rpi_health.metric import METRICS
from rpi_health.report import CPU_TEMP_LENGTH, DEVICE_ID_LENGTH, MEM_USAGE_LENGTH, WIFI_STATUS_LENGTH

_MYSQL = ("mysql", "mariadb")


class UTCDateTime(sa.types.TypeDecorator[datetime]):
    """An instant: aware, UTC, with microseconds. `timestamptz` on PostgreSQL, naive UTC elsewhere."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in _MYSQL:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: Optional[datetime], dialect: Dialect) -> Optional[datetime]:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: give it a time zone")
        value = value.astimezone(timezone.utc)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: Optional[datetime], dialect: Dialect) -> Optional[datetime]:
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


# Compared byte by byte on every database: PI-1 is not pi-1. "C" also spares PostgreSQL the locale's sorting rules.
DeviceId = (
    sa.String(DEVICE_ID_LENGTH)
    .with_variant(postgresql.VARCHAR(DEVICE_ID_LENGTH, collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(DEVICE_ID_LENGTH, charset="utf8mb4", collation="utf8mb4_bin"), *_MYSQL)
)
# An upsert draws an id even when it updates: 32 bits are used up after 2.1 billion reports.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Digest = sa.LargeBinary(16).with_variant(mysql.BINARY(16), *_MYSQL)
Token = sa.LargeBinary(8).with_variant(mysql.BINARY(8), *_MYSQL)
Double: sa.Double[float] = sa.Double()

_TABLE_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_row_format": "DYNAMIC"}


class Base(DeclarativeBase):
    """The root of the models; `Base.metadata` is what the migrations must arrive at."""


class DeviceStatus(Base):
    """One row a device: its state after the newest report, and when it was last heard of."""

    __tablename__ = "device_status"
    # Each report is an update: PostgreSQL keeps room on each page (see the migration 0002). SQLAlchemy 2.0 has no
    # option of a table for that.
    __table_args__ = _TABLE_OPTIONS

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    raspberry_id: Mapped[str] = mapped_column(DeviceId, unique=True, index=True)
    wifi_status: Mapped[Optional[str]] = mapped_column(sa.String(WIFI_STATUS_LENGTH))
    mem_usage: Mapped[Optional[str]] = mapped_column(sa.String(MEM_USAGE_LENGTH))
    cpu_temp: Mapped[Optional[str]] = mapped_column(sa.String(CPU_TEMP_LENGTH))
    led_internal_status: Mapped[Optional[bool]] = mapped_column(sa.Boolean(), default=False, server_default=sa.false())
    led_external_status: Mapped[Optional[bool]] = mapped_column(sa.Boolean(), default=False, server_default=sa.false())
    cpu_percent: Mapped[Optional[float]] = mapped_column(Double)
    gpio_used_count: Mapped[Optional[int]] = mapped_column(sa.Integer())
    spi_buses: Mapped[Optional[Any]] = mapped_column(Json)
    i2c_buses: Mapped[Optional[Any]] = mapped_column(Json)
    usb_devices_count: Mapped[Optional[int]] = mapped_column(sa.Integer())
    net_bytes_sent: Mapped[Optional[int]] = mapped_column(sa.BigInteger())
    net_bytes_recv: Mapped[Optional[int]] = mapped_column(sa.BigInteger())
    net_ifaces: Mapped[Optional[Any]] = mapped_column(Json)
    #: When the fleet last heard from the device. Never moves backwards.
    last_update: Mapped[Optional[datetime]] = mapped_column(UTCDateTime())
    #: None for a row adopted from before rpi-health.
    first_seen: Mapped[Optional[datetime]] = mapped_column(UTCDateTime())
    #: The time of the report that the state columns come from. None for an adopted row.
    reported_at: Mapped[Optional[datetime]] = mapped_column(UTCDateTime())
    cpu_temp_celsius: Mapped[Optional[float]] = mapped_column(Double)
    mem_used_bytes: Mapped[Optional[int]] = mapped_column(sa.BigInteger())
    mem_percent: Mapped[Optional[float]] = mapped_column(Double)
    interval_s: Mapped[Optional[float]] = mapped_column(Double)
    extra: Mapped[Optional[Any]] = mapped_column(Json)
    report_warnings: Mapped[Optional[Any]] = mapped_column(Json)
    #: Which state columns the newest report carried, a bit each (`payload.State`): lets one statement keep the others.
    reported_fields: Mapped[Optional[int]] = mapped_column(sa.BigInteger())


class DeviceHistory(Base):
    """One row a report. The key makes a redelivered report the same row, and is the order in which it is read."""

    __tablename__ = "device_history"
    # Clustered by the key where the database can: one tree to write instead of two.
    __table_args__ = {**_TABLE_OPTIONS, "sqlite_with_rowid": False}

    raspberry_id: Mapped[str] = mapped_column(DeviceId, primary_key=True)
    reported_at: Mapped[datetime] = mapped_column(UTCDateTime(), primary_key=True)
    digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    received_at: Mapped[datetime] = mapped_column(UTCDateTime())
    wifi_status: Mapped[Optional[str]] = mapped_column(sa.String(WIFI_STATUS_LENGTH))
    mem_usage: Mapped[Optional[str]] = mapped_column(sa.String(MEM_USAGE_LENGTH))
    cpu_temp: Mapped[Optional[str]] = mapped_column(sa.String(CPU_TEMP_LENGTH))
    led_internal_status: Mapped[Optional[bool]] = mapped_column(sa.Boolean())
    led_external_status: Mapped[Optional[bool]] = mapped_column(sa.Boolean())
    cpu_percent: Mapped[Optional[float]] = mapped_column(Double)
    gpio_used_count: Mapped[Optional[int]] = mapped_column(sa.Integer())
    usb_devices_count: Mapped[Optional[int]] = mapped_column(sa.Integer())
    net_bytes_sent: Mapped[Optional[int]] = mapped_column(sa.BigInteger())
    net_bytes_recv: Mapped[Optional[int]] = mapped_column(sa.BigInteger())
    cpu_temp_celsius: Mapped[Optional[float]] = mapped_column(Double)
    mem_used_bytes: Mapped[Optional[int]] = mapped_column(sa.BigInteger())
    mem_percent: Mapped[Optional[float]] = mapped_column(Double)
    interval_s: Mapped[Optional[float]] = mapped_column(Double)


def _hourly_figures() -> Iterator[sa.Column[Any]]:
    """For each metric: the least, the mean and the greatest value, and how many reports have one."""
    for metric in METRICS:
        kind = DeviceHistory.__table__.c[metric.column].type
        least, mean, most, count = metric.figures
        yield sa.Column(least, kind)
        yield sa.Column(mean, Double)
        yield sa.Column(most, kind)
        yield sa.Column(count, sa.Integer(), nullable=False)


class DeviceHistoryHourly(Base):
    """One row an hour of a device: what is left of its reports once they are deleted for their age."""

    __table__ = sa.Table(
        "device_history_hourly",
        Base.metadata,
        sa.Column("raspberry_id", DeviceId, primary_key=True),
        sa.Column("hour_start", UTCDateTime(), primary_key=True),
        sa.Column("reports", sa.Integer(), nullable=False),
        *_hourly_figures(),
        **_TABLE_OPTIONS,
        sqlite_with_rowid=False,
    )


class MessageReceipt(Base):
    """When a message with an id of its own but without a time was first received: its redelivery gets the same time."""

    __tablename__ = "message_receipts"
    __table_args__ = {**_TABLE_OPTIONS, "sqlite_with_rowid": False}

    raspberry_id: Mapped[str] = mapped_column(DeviceId, primary_key=True)
    digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    received_at: Mapped[datetime] = mapped_column(UTCDateTime())


class PoisonNote(Base):
    """A message that a process has in hand. Notes that are never taken back tell which message kills processes."""

    __tablename__ = "poison_notes"
    __table_args__ = {**_TABLE_OPTIONS, "sqlite_with_rowid": False}

    digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    owner: Mapped[bytes] = mapped_column(Token, primary_key=True)
    noted_at: Mapped[datetime] = mapped_column(UTCDateTime())


class ConsumerStatus(Base):
    """One row a running consumer, which it renews every few seconds and takes back when it stops in good order."""

    __tablename__ = "consumer_status"
    __table_args__ = {**_TABLE_OPTIONS, "sqlite_with_rowid": False}

    token: Mapped[bytes] = mapped_column(Token, primary_key=True)
    host: Mapped[str] = mapped_column(sa.String(255))
    pid: Mapped[int] = mapped_column(sa.BigInteger())
    version: Mapped[str] = mapped_column(sa.String(64))
    queue: Mapped[str] = mapped_column(sa.String(255))
    connected: Mapped[bool] = mapped_column(sa.Boolean())
    #: How many messages wait at the broker; None while that is not known.
    backlog: Mapped[Optional[int]] = mapped_column(sa.BigInteger())
    #: Reports stored a second, since the row was renewed before.
    rate: Mapped[float] = mapped_column(Double)
    last_commit_at: Mapped[Optional[datetime]] = mapped_column(UTCDateTime())
    started_at: Mapped[datetime] = mapped_column(UTCDateTime())
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime())


class ConsumerHearing(Base):
    """One row a span of time in which some consumer heard the fleet without a break; the newest one still grows."""

    __tablename__ = "consumer_hearing"
    __table_args__ = {**_TABLE_OPTIONS, "sqlite_with_rowid": False}

    heard_from: Mapped[datetime] = mapped_column(UTCDateTime(), primary_key=True)
    heard_until: Mapped[datetime] = mapped_column(UTCDateTime())


class ConsumerUpkeep(Base):
    """One row a task that all consumers of a database do once between them: who is at it, and how far."""

    __tablename__ = "consumer_upkeep"
    __table_args__ = {**_TABLE_OPTIONS, "sqlite_with_rowid": False}

    task: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    #: The consumer that does it, until when it alone may, and the last device that is done with.
    owner: Mapped[Optional[bytes]] = mapped_column(Token)
    leased_until: Mapped[Optional[datetime]] = mapped_column(UTCDateTime())
    position: Mapped[Optional[str]] = mapped_column(DeviceId)
    #: When the last round began.
    began_at: Mapped[Optional[datetime]] = mapped_column(UTCDateTime())
