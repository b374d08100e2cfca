"""The statements with which the store writes, made from the models for one dialect. SQL only: no connection, no data.

The guarded upsert is one statement on every database. It keeps the stored value of a field that the report did not
carry (`reported_fields` has a bit for each), and keeps all of them where the stored report is newer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateTable

from rpi_health.models import DeviceHistory, DeviceStatus, MessageReceipt, PoisonNote
from rpi_health.report import State

STATUS: sa.Table = DeviceStatus.__table__  # type: ignore[assignment]
HISTORY: sa.Table = DeviceHistory.__table__  # type: ignore[assignment]
RECEIPTS: sa.Table = MessageReceipt.__table__  # type: ignore[assignment]
NOTES: sa.Table = PoisonNote.__table__  # type: ignore[assignment]

#: The columns of a row as the store makes it, in this order.
STATUS_COLUMNS = ("raspberry_id", "first_seen", "last_update", "reported_at", "reported_fields", *State._fields)
#: The fields of `State` that the history keeps, too.
HISTORY_STATE = tuple(name for name in State._fields if name in HISTORY.columns)
HISTORY_COLUMNS = ("raspberry_id", "reported_at", "digest", "received_at", *HISTORY_STATE)
RECEIPT_COLUMNS = ("raspberry_id", "digest", "received_at")

Row = Sequence[Any]

_POSTGRESQL: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def changes(new: Any) -> list[tuple[str, sa.ColumnElement[Any]]]:
    """What an upsert sets, from the row that could not be inserted (`excluded`, `VALUES()`) and the stored one.

    `reported_at` comes last: MySQL assigns from left to right, and the guard must still see the stored value.
    """
    old = STATUS.c
    newer = sa.or_(old.reported_at.is_(None), new.reported_at >= old.reported_at)
    heard = sa.or_(old.last_update.is_(None), new.last_update > old.last_update)
    carried = [
        (name, sa.case((sa.and_(newer, _has_bit(new.reported_fields, bit)), new[name]), else_=old[name]))
        for bit, name in enumerate(State._fields)
    ]
    return [
        *carried,
        ("last_update", sa.case((heard, new.last_update), else_=old.last_update)),
        ("reported_fields", sa.case((newer, new.reported_fields), else_=old.reported_fields)),
        ("reported_at", sa.case((newer, new.reported_at), else_=old.reported_at)),
    ]


def _has_bit(mask: sa.ColumnElement[int], bit: int) -> sa.ColumnElement[bool]:
    return mask.bitwise_and(sa.literal_column(str(1 << bit))) != sa.literal_column("0")


class Statement(NamedTuple):
    """An INSERT of rows of values: `head`, then a group of placeholders for each row, then `tail`.

    Args:
        arrange: puts a row into the order of the placeholders.
    """

    head: str
    group: str
    tail: str
    arrange: Callable[[Row], Row]


class RowStatements(NamedTuple):
    """What SQLite, MySQL and MariaDB are written with."""

    upsert_status: Statement
    insert_history: Statement
    insert_receipt: Statement


def row_statements(dialect_name: str) -> RowStatements:
    """Make the statements for `sqlite`, `mysql` or `mariadb`."""
    if dialect_name == "sqlite":
        dialect: sa.Dialect = sqlite.dialect()
        upsert = sqlite.insert(STATUS)
        upsert = upsert.on_conflict_do_update(index_elements=["raspberry_id"], set_=dict(changes(upsert.excluded)))
        history, receipt = (sqlite.insert(table).on_conflict_do_nothing() for table in (HISTORY, RECEIPTS))
        return _row_statements(dialect, upsert, history, receipt)
    # A dialect of its own, so that the SQL is the form with VALUES(), which every version takes.
    dialect = mysql.dialect(paramstyle="format")
    replace = mysql.insert(STATUS)
    replace = replace.on_duplicate_key_update(changes(replace.inserted))
    # INSERT IGNORE would also swallow values that do not fit; assigning the key to itself swallows the duplicate only.
    kept = (mysql.insert(t).on_duplicate_key_update(digest=t.c.digest) for t in (HISTORY, RECEIPTS))
    return _row_statements(dialect, replace, *kept)


def _row_statements(dialect: sa.Dialect, upsert: Any, history: Any, receipt: Any) -> RowStatements:
    return RowStatements(
        _statement(dialect, upsert, STATUS_COLUMNS),
        _statement(dialect, history, HISTORY_COLUMNS),
        _statement(dialect, receipt, RECEIPT_COLUMNS),
    )


def _statement(dialect: sa.Dialect, insert: Any, names: tuple[str, ...]) -> Statement:
    # Compiled once: SQLAlchemy's own executemany converts each parameter of each row in Python.
    compiled = insert.values({name: sa.bindparam(name) for name in names}).compile(dialect=dialect)
    head, values, rest = str(compiled).partition(" VALUES ")
    group, _, tail = rest.partition(")")
    order = (names.index(name) for name in compiled.positiontup)
    return Statement(head + values, group + ")", tail, operator.itemgetter(*order))


class StagedStatements(NamedTuple):
    """What PostgreSQL is written with: rows are copied into a temporary table, and spread from there."""

    create_stage: str
    copy_stage: str
    upsert_status: str
    insert_history: str
    insert_receipt: str


#: A staged row: its turn (0: history only; 1, 2 …: the rounds of `fold`), the status row, and what only history has.
STAGE_COLUMNS = ("turn", *STATUS_COLUMNS, "digest", "received_at")


def staged_statements() -> StagedStatements:
    """Make the statements for PostgreSQL. `upsert_status` takes the parameter `turn`, a receipt its three columns."""
    stage = sa.Table(
        "rpi_health_stage",
        sa.MetaData(),
        sa.Column("turn", sa.Integer()),
        *(sa.Column(name, STATUS.c[name].type) for name in STATUS_COLUMNS),
        *(sa.Column(name, HISTORY.c[name].type) for name in ("digest", "received_at")),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DELETE ROWS",
    )
    return StagedStatements(
        _compiled(CreateTable(stage, if_not_exists=True)),
        f"COPY pg_temp.{stage.name} ({', '.join(STAGE_COLUMNS)}) FROM STDIN",
        _compiled(_staged_upsert(stage)),
        _compiled(_staged_history(stage)),
        _compiled(postgresql.insert(RECEIPTS).on_conflict_do_nothing()),
    )


def _compiled(statement: Any) -> str:
    return str(statement.compile(dialect=_POSTGRESQL))


def _staged_upsert(stage: sa.Table) -> sa.Insert:
    rows = (
        sa.select(*(stage.c[name] for name in STATUS_COLUMNS))
        .where(stage.c.turn == sa.bindparam("turn"))
        .order_by(stage.c.raspberry_id)
    )
    upsert = postgresql.insert(STATUS).from_select(STATUS_COLUMNS, rows)
    return upsert.on_conflict_do_update(index_elements=["raspberry_id"], set_=dict(changes(upsert.excluded)))


def _staged_history(stage: sa.Table) -> sa.Insert:
    # Of a message that is in the batch twice, the one received first is kept, as elsewhere.
    order = (stage.c.raspberry_id, stage.c.reported_at, stage.c.received_at)
    rows = sa.select(*(stage.c[name] for name in HISTORY_COLUMNS)).order_by(*order)
    return postgresql.insert(HISTORY).from_select(HISTORY_COLUMNS, rows).on_conflict_do_nothing()


def insert_note(dialect_name: str) -> sa.Insert:
    """Enter a note unless it is there. Parameters: `digest`, `owner`, `noted_at`."""
    if dialect_name in ("mysql", "mariadb"):
        return mysql.insert(NOTES).on_duplicate_key_update(digest=NOTES.c.digest)
    insert = postgresql.insert if dialect_name == "postgresql" else sqlite.insert
    return insert(NOTES).on_conflict_do_nothing()
