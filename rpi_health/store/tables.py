"""How one family of databases is written: rows from reports, in the driver's own types, by the fastest way it has."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from typing import Any, Protocol

import sqlalchemy as sa

from rpi_health.report import Report, State
from rpi_health.store import upsert
from rpi_health.store.fold import Folded

_JSON_FIELDS = tuple(
    State._fields.index(n) for n in ("spi_buses", "i2c_buses", "net_ifaces", "extra", "report_warnings")
)
_LED_FIELDS = tuple(State._fields.index(n) for n in ("led_internal_status", "led_external_status"))
_HISTORY_FIELDS = tuple(State._fields.index(n) for n in upsert.HISTORY_STATE)
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def tables_for(dialect_name: str) -> Tables:
    """The way to write to `postgresql`, `sqlite`, `mysql` or `mariadb`."""
    return StagedTables() if dialect_name == "postgresql" else RowTables(dialect_name)


def _status_row(folded: Folded) -> tuple[Any, ...]:
    """The row for `upsert.STATUS_COLUMNS`. JSON columns hold JSON text; LEDs that were not sent start as off."""
    report, first_heard_at, last_heard_at = folded
    state: list[Any] = list(report.state)
    for field in _JSON_FIELDS:
        if state[field] is not None:
            state[field] = _to_json(state[field])
    for field in _LED_FIELDS:
        if not report.present >> field & 1:
            state[field] = False
    return (report.raspberry_id, first_heard_at, last_heard_at, report.reported_at, report.present, *state)


class Tables(Protocol):
    """How one family of databases is written."""

    def write(self, connection: sa.Connection, reports: Iterable[Report], rounds: list[list[Folded]]) -> None: ...

    def insert_receipts(self, connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None: ...


class RowTables:
    """SQLite, MySQL and MariaDB: `executemany` with SQL compiled beforehand and rows in the driver's own types."""

    def __init__(self, dialect_name: str) -> None:
        self._sql = upsert.row_statements(dialect_name)

    def write(self, connection: sa.Connection, reports: Iterable[Report], rounds: list[list[Folded]]) -> None:
        for folded in rounds:
            self._execute(connection, self._sql.upsert_status, map(_status_row, folded))
        by_key = sorted(reports, key=lambda r: (r.raspberry_id, r.reported_at))
        self._execute(connection, self._sql.insert_history, map(self._history_row, by_key))

    def insert_receipts(self, connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
        self._execute(connection, self._sql.insert_receipt, rows)

    @staticmethod
    def _history_row(report: Report) -> tuple[Any, ...]:
        state = report.state
        metrics = [state[field] for field in _HISTORY_FIELDS]
        return (report.raspberry_id, report.reported_at, report.digest, report.received_at, *metrics)

    @staticmethod
    def _execute(connection: sa.Connection, statement: upsert.Statement, rows: Iterable[tuple[Any, ...]]) -> None:
        arrange = statement.arrange
        parameters = [tuple(map(_as_utc_text, arrange(row))) for row in rows]
        if parameters:
            connection.exec_driver_sql(statement.sql, parameters)


def _as_utc_text(value: Any) -> Any:
    # The form that SQLAlchemy reads back on SQLite, and that MySQL takes for DATETIME(6).
    if type(value) is datetime:
        return value.isoformat(" ", "microseconds")[:26]
    return value


class StagedTables:
    """PostgreSQL: COPY into a temporary table, then one INSERT … SELECT … ON CONFLICT for each table."""

    def __init__(self) -> None:
        self._sql = upsert.staged_statements()

    def write(self, connection: sa.Connection, reports: Iterable[Report], rounds: list[list[Folded]]) -> None:
        # Each time, though it lasts as long as the connection: a pooler may have given us another one.
        connection.exec_driver_sql(self._sql.create_stage)
        current = {id(folded.report) for folded in chain.from_iterable(rounds)}
        self._copy(
            connection,
            chain(
                (self._staged(turn, folded) for turn, round_ in enumerate(rounds, start=1) for folded in round_),
                (self._history_only(report) for report in reports if id(report) not in current),
            ),
        )
        for turn in range(1, len(rounds) + 1):
            connection.execute(self._sql.upsert_status, {"turn": turn})
        connection.execute(self._sql.insert_history)

    def insert_receipts(self, connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
        names = upsert.RECEIPT_COLUMNS
        connection.execute(self._sql.insert_receipt, [dict(zip(names, row)) for row in rows])

    def _copy(self, connection: sa.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(self._sql.copy_stage) as copy:
            for row in rows:
                copy.write_row(row)

    @staticmethod
    def _staged(turn: int, folded: Folded) -> tuple[Any, ...]:
        return (turn, *_status_row(folded), folded.report.digest, folded.report.received_at)

    @staticmethod
    def _history_only(report: Report) -> tuple[Any, ...]:
        state: list[Any] = list(report.state)
        for field in _JSON_FIELDS:
            state[field] = None
        heads = (0, report.raspberry_id, None, None, report.reported_at, report.present)
        return (*heads, *state, report.digest, report.received_at)
