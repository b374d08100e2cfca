"""SQLite, MySQL and MariaDB: INSERT statements of many rows, on the driver's own cursor.

PyMySQL writes values into the SQL itself, one function call each, and slowly; so do we, in the way that the session's
`sql_mode` has (`database`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from rpi_health.report import Report
from rpi_health.store import upsert
from rpi_health.store.fold import Folded
from rpi_health.store.rows import Row, history_row, status_row, without_offset

#: Bytes are at most four times as many; the least `max_allowed_packet` in use is 16 MiB.
_MAX_STATEMENT_CHARACTERS = 1_000_000


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
                self._insert(cursor, self._sql.upsert_status, [status_row(each, without_offset) for each in folded])
            by_key = sorted(reports, key=lambda report: (report.raspberry_id, report.reported_at))
            self._insert(cursor, self._sql.insert_history, [history_row(each, without_offset) for each in by_key])

    def insert_receipts(self, connection: sa.Connection, receipts: Iterable[tuple[str, bytes, datetime]]) -> None:
        """Insert devices, digests and when they were received; what is there stays."""
        driver: Any = connection.connection.driver_connection
        rows = [(device, digest, without_offset(at)) for device, digest, at in receipts]
        with contextlib.closing(driver.cursor()) as cursor:
            self._insert(cursor, self._sql.insert_receipt, rows)


def _insert_by_parameters(cursor: Any, statement: upsert.Statement, rows: Sequence[Row]) -> None:
    cursor.executemany(statement.head + statement.group + statement.tail, map(statement.arrange, rows))


def _insert_by_literals(cursor: Any, statement: upsert.Statement, rows: Sequence[Row]) -> None:
    groups: list[str] = []
    length = 0
    for row in map(statement.arrange, rows):
        group = "(" + ",".join([_LITERALS[type(value)](value) for value in row]) + ")"
        if groups and length + len(group) > _MAX_STATEMENT_CHARACTERS:
            cursor.execute(statement.head + ",".join(groups) + statement.tail)
            groups, length = [], 0
        groups.append(group)
        length += len(group)
    if groups:
        cursor.execute(statement.head + ",".join(groups) + statement.tail)


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
