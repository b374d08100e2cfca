"""SQLite, MySQL and MariaDB: INSERT statements of many rows, on the driver's own cursor.

PyMySQL writes values into the SQL itself, one function call each, and slowly; so do we, in the way that the session's
`sql_mode` has (`database`).
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from rpi_health.report import Report, State
from rpi_health.store import upsert
from rpi_health.store.fold import Folded
from rpi_health.store.rows import Column, state_columns, text_of

#: Bytes are at most four times as many; the least `max_allowed_packet` in use is 16 MiB.
_MAX_STATEMENT_CHARACTERS = 1_000_000

_metrics: Callable[[Sequence[Column]], tuple[Column, ...]] = operator.itemgetter(
    *map(State._fields.index, upsert.HISTORY_STATE)
)


class MultiRowTables:
    """Writes rows of reports, and receipts, within the transaction of a connection.

    Args:
        dialect_name: `sqlite`, `mysql` or `mariadb`.
    """

    def __init__(self, dialect_name: str) -> None:
        self._sql = upsert.row_statements(dialect_name)
        self._insert = _insert_by_parameters if dialect_name == "sqlite" else _insert_by_literals

    def write(self, connection: sa.Connection, reports: Sequence[Report], rounds: list[list[Folded]]) -> None:
        """Write a batch: the rounds of `fold` one after the other, then its history in the order of the key."""
        driver: Any = connection.connection.driver_connection
        with contextlib.closing(driver.cursor()) as cursor:
            for folded in rounds:
                self._insert(cursor, self._sql.upsert_status, _status(folded))
            by_key = sorted(reports, key=lambda report: (report.raspberry_id, report.reported_at))
            self._insert(cursor, self._sql.insert_history, _history(by_key))

    def insert_receipts(self, connection: sa.Connection, receipts: Iterable[tuple[str, bytes, datetime]]) -> None:
        """Insert devices, digests and when they were received; what is there stays."""
        driver: Any = connection.connection.driver_connection
        devices, digests, instants = zip(*receipts)
        with contextlib.closing(driver.cursor()) as cursor:
            self._insert(cursor, self._sql.insert_receipt, [devices, digests, list(map(text_of, instants))])


def _status(folded: Sequence[Folded]) -> list[Column]:
    """The columns for `upsert.STATUS_COLUMNS`."""
    reports = [each.report for each in folded]
    return [
        [report.raspberry_id for report in reports],
        [text_of(each.first_heard_at) for each in folded],
        [text_of(each.last_heard_at) for each in folded],
        [text_of(report.reported_at) for report in reports],
        [report.present for report in reports],
        *state_columns(reports),
    ]


def _history(reports: Sequence[Report]) -> list[Column]:
    """The columns for `upsert.HISTORY_COLUMNS`."""
    states = list(zip(*[report.state for report in reports]))
    return [
        [report.raspberry_id for report in reports],
        [text_of(report.reported_at) for report in reports],
        [report.digest for report in reports],
        [text_of(report.received_at) for report in reports],
        *_metrics(states),
    ]


def _insert_by_parameters(cursor: Any, statement: upsert.Statement, columns: Sequence[Column]) -> None:
    cursor.executemany(statement.head + statement.group + statement.tail, zip(*statement.arrange(columns)))


def _insert_by_literals(cursor: Any, statement: upsert.Statement, columns: Sequence[Column]) -> None:
    groups: list[str] = []
    length = 0
    for row in zip(*map(_literals, statement.arrange(columns))):
        group = "(" + ",".join(row) + ")"
        if groups and length + len(group) > _MAX_STATEMENT_CHARACTERS:
            cursor.execute(statement.head + ",".join(groups) + statement.tail)
            groups, length = [], 0
        groups.append(group)
        length += len(group)
    if groups:
        cursor.execute(statement.head + ",".join(groups) + statement.tail)


def _literals(column: Column) -> Iterable[str]:
    kinds = set(map(type, column))
    if len(kinds) == 1:
        return map(_LITERALS[kinds.pop()], column)
    return [_LITERALS[type(value)](value) for value in column]


def _text_literal(value: str) -> str:
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    return "'" + value.replace("'", "''") + "'"


def _double_literal(value: float) -> str:
    text = repr(value)
    return text if "e" in text else text + "e0"  # without an exponent it would be a DECIMAL


_LITERALS: dict[type, Callable[[Any], str]] = {
    str: _text_literal,
    int: str,
    float: _double_literal,
    bool: str,
    bytes: lambda value: f"X'{value.hex()}'",
    type(None): lambda _: "NULL",
}
