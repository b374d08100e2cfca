"""Which consumers run, and when the fleet was being heard.

Revision ID: 0003
Revises: 0002

Frozen, as each migration is. MySQL and MariaDB commit each CREATE: what a run that was cut off has made is kept.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from rpi_health.errors import DatabaseMisconfigured

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MYSQL = ("mysql", "mariadb")
INSTANT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *MYSQL)
TOKEN = sa.LargeBinary(8).with_variant(mysql.BINARY(8), *MYSQL)
OPTIONS = {
    **{
        f"{dialect}_{name}": value
        for dialect in MYSQL
        for name, value in {"engine": "InnoDB", "charset": "utf8mb4", "row_format": "DYNAMIC"}.items()
    },
    "sqlite_with_rowid": False,
}

METADATA = sa.MetaData()

sa.Table(
    "consumer_status",
    METADATA,
    sa.Column("token", TOKEN, primary_key=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.BigInteger(), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("queue", sa.String(255), nullable=False),
    sa.Column("connected", sa.Boolean(), nullable=False),
    sa.Column("backlog", sa.BigInteger()),
    sa.Column("rate", sa.Double(), nullable=False),
    sa.Column("last_commit_at", INSTANT),
    sa.Column("started_at", INSTANT, nullable=False),
    sa.Column("updated_at", INSTANT, nullable=False),
    **OPTIONS,
)
sa.Table(
    "consumer_hearing",
    METADATA,
    sa.Column("heard_from", INSTANT, primary_key=True),
    sa.Column("heard_until", INSTANT, nullable=False),
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


def downgrade() -> None:
    for table in reversed(METADATA.sorted_tables):
        op.drop_table(table.name)
