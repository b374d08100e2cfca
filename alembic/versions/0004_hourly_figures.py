"""What is left of old reports: figures of each hour; and who deletes the reports.

Revision ID: 0004
Revises: 0003

Frozen, as each migration is. MySQL and MariaDB commit each CREATE: what a run that was cut off has made is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

from rpi_health.errors import DatabaseMisconfigured

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MYSQL = ("mysql", "mariadb")
INSTANT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *MYSQL)
TOKEN = sa.LargeBinary(8).with_variant(mysql.BINARY(8), *MYSQL)
DEVICE_ID = (
    sa.String(128)
    .with_variant(postgresql.VARCHAR(128, collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(128, charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL)
)
FIGURES = {
    "cpu_temp_celsius": sa.Double(),
    "cpu_percent": sa.Double(),
    "mem_used_bytes": sa.BigInteger(),
    "mem_percent": sa.Double(),
    "net_bytes_sent": sa.BigInteger(),
    "net_bytes_recv": sa.BigInteger(),
    "gpio_used_count": sa.Integer(),
    "usb_devices_count": sa.Integer(),
}
OPTIONS = {
    **{
        f"{dialect}_{name}": value
        for dialect in MYSQL
        for name, value in {"engine": "InnoDB", "charset": "utf8mb4", "row_format": "DYNAMIC"}.items()
    },
    "sqlite_with_rowid": False,
}


def figures() -> Iterator[sa.Column]:
    for name, kind in FIGURES.items():
        yield sa.Column(f"{name}_min", kind)
        yield sa.Column(f"{name}_mean", sa.Double())
        yield sa.Column(f"{name}_max", kind)
        yield sa.Column(f"{name}_count", sa.Integer(), nullable=False)


METADATA = sa.MetaData()

sa.Table(
    "device_history_hourly",
    METADATA,
    sa.Column("raspberry_id", DEVICE_ID, primary_key=True),
    sa.Column("hour_start", INSTANT, primary_key=True),
    sa.Column("reports", sa.Integer(), nullable=False),
    *figures(),
    **OPTIONS,
)
UPKEEP = sa.Table(
    "consumer_upkeep",
    METADATA,
    sa.Column("task", sa.String(32), primary_key=True),
    sa.Column("owner", TOKEN),
    sa.Column("leased_until", INSTANT),
    sa.Column("position", DEVICE_ID),
    sa.Column("began_at", INSTANT),
    **OPTIONS,
)


def upgrade() -> None:
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    present = {name for name in METADATA.tables if inspector.has_table(name)}
    for name in present:
        if {column["name"] for column in inspector.get_columns(name)} != set(METADATA.tables[name].columns.keys()):
            raise DatabaseMisconfigured(
                f"The database has a table {name} of another application: rename it, or give rpi-health a database of "
                "its own"
            )
    for table in METADATA.sorted_tables:
        if table.name not in present:
            table.create(connection)
    if connection.scalar(sa.select(sa.func.count()).select_from(UPKEEP)) == 0:
        connection.execute(sa.insert(UPKEEP).values(task="retention"))


def downgrade() -> None:
    for table in reversed(METADATA.sorted_tables):
        op.drop_table(table.name)
