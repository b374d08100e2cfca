"""The statements with which the store writes, made from the models for one dialect. SQL only: no connection, no data.

The guarded upsert is one statement on every database. It keeps the stored value of a field that the report did not
carry (`reported_fields` has a bit for each), and keeps all of them where the stored report is newer.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

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

Column = Sequence[Any]

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
        arrange: puts the columns of the rows into the order of the placeholders.
    """

    head: str
    group: str
    tail: str
    arrange: Callable[[Sequence[Column]], Sequence[Column]]


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
    """What PostgreSQL is written with: rows are copied into a temporary table, and spread from there.

    Args:
        stage_types: of its columns, by the names that psycopg knows.
    """

    create_stage: str
    copy_stage: str
    stage_types: tuple[str, ...]
    upsert_status: str
    insert_history: str
    insert_receipt: str


#: A staged row: its turn (0: history only; 1, 2 …: the rounds of `fold`), the status row, and what only history has.
STAGE_COLUMNS = ("turn", *STATUS_COLUMNS, "digest", "received_at")
# What each type is staged as. The driver writes instants faster as seconds since 1970, which are exact to the
# microsecond until 2106, and JSON as text.
_STAGED_AS = {
    "VARCHAR": "text",
    "JSONB": "text",
    "TIMESTAMP": "float8",
    "DOUBLE": "float8",
    "BIGINT": "int8",
    "INTEGER": "int4",
    "BOOLEAN": "bool",
    "BYTEA": "bytea",
}


def staged_statements() -> StagedStatements:
    """Make the statements for PostgreSQL. `upsert_status` takes the parameter `turn`, a receipt its three columns."""
    types = ("int4", *(_STAGED_AS[_type_of(column)] for column in _UNSTAGED.values()))
    columns = ", ".join(f"{name} {type_}" for name, type_ in zip(STAGE_COLUMNS, types))
    return StagedStatements(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {_STAGE.name} ({columns}) ON COMMIT DELETE ROWS",
        f"COPY pg_temp.{_STAGE.name} ({', '.join(STAGE_COLUMNS)}) FROM STDIN (FORMAT BINARY)",
        types,
        _compiled(_staged_upsert()),
        _compiled(_staged_history()),
        _compiled(postgresql.insert(RECEIPTS).on_conflict_do_nothing()),
    )


_STAGE = sa.table("rpi_health_stage", *map(sa.column, STAGE_COLUMNS))
# A locale's order would cost more than all of the rest of a sort, and any one order will do.
_BY_DEVICE = _STAGE.c.raspberry_id.collate("C")
_UNSTAGED = {name: (STATUS if name in STATUS_COLUMNS else HISTORY).columns[name] for name in STAGE_COLUMNS[1:]}


def _type_of(column: sa.Column[Any]) -> str:
    return str(re.split(r"\W", column.type.compile(_POSTGRESQL), maxsplit=1)[0])


def _unstaged(name: str) -> sa.ColumnElement[Any]:
    """A staged value as the type of its column."""
    staged, type_ = _STAGE.columns[name], _type_of(_UNSTAGED[name])
    if type_ == "TIMESTAMP":
        return sa.func.to_timestamp(staged)
    return sa.cast(staged, postgresql.JSONB) if type_ == "JSONB" else staged


def _compiled(statement: Any) -> str:
    return str(statement.compile(dialect=_POSTGRESQL))


def _staged_upsert() -> sa.Insert:
    rows = sa.select(*map(_unstaged, STATUS_COLUMNS)).where(_STAGE.c.turn == sa.bindparam("turn")).order_by(_BY_DEVICE)
    upsert = postgresql.insert(STATUS).from_select(STATUS_COLUMNS, rows)
    return upsert.on_conflict_do_update(index_elements=["raspberry_id"], set_=dict(changes(upsert.excluded)))


def _staged_history() -> sa.Insert:
    # Of a message that is in the batch twice, the one received first is kept, as elsewhere.
    order = (_BY_DEVICE, _STAGE.c.reported_at, _STAGE.c.received_at)
    rows = sa.select(*map(_unstaged, HISTORY_COLUMNS)).order_by(*order)
    return postgresql.insert(HISTORY).from_select(HISTORY_COLUMNS, rows).on_conflict_do_nothing()


def insert_note(dialect_name: str) -> sa.Insert:
    """Enter a note unless it is there. Parameters: `digest`, `owner`, `noted_at`."""
    if dialect_name in ("mysql", "mariadb"):
        return mysql.insert(NOTES).on_duplicate_key_update(digest=NOTES.c.digest)
    insert = postgresql.insert if dialect_name == "postgresql" else sqlite.insert
    return insert(NOTES).on_conflict_do_nothing()
