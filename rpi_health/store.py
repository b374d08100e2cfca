"""All of the SQL writing: a batch of reports becomes rows, in one transaction.

Knows nothing of messages, acks or retries: it writes, and says what the database made of it. Used by one thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from rpi_health import errors, upsert
from rpi_health.database_errors import translate
from rpi_health.fold import Folded, fold
from rpi_health.models import MessageReceipt, PoisonSuspect
from rpi_health.report import Report, State

_JSON_FIELDS = tuple(
    State._fields.index(n) for n in ("spi_buses", "i2c_buses", "net_ifaces", "extra", "report_warnings")
)
_LED_FIELDS = tuple(State._fields.index(n) for n in ("led_internal_status", "led_external_status"))
_HISTORY_FIELDS = tuple(State._fields.index(n) for n in upsert.HISTORY_STATE)
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Refused(NamedTuple):
    """A report that the database alone refuses for good."""

    report: Report
    error: errors.DataRefused


class Store:
    """Writes reports through one connection that it keeps open.

    Args:
        engine: as `database.create_engine(url, writer=True)` makes it. The schema must be current.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._tables: _Tables = (
            _StagedTables() if engine.dialect.name == "postgresql" else _RowTables(engine.dialect.name)
        )
        self._open: sa.Connection | None = None

    def write(self, reports: Sequence[Report]) -> list[Refused]:
        """Store the reports, in order of arrival, in one transaction. Safe to repeat: nothing is stored twice.

        Returns: the reports that the database refuses for good. All others are committed.

        Raises:
            DatabaseUnavailable: nothing was stored, or a commit went unanswered; the same call may succeed later.
            DatabaseMisconfigured: nothing was stored; nothing will be until somebody mends the database.
        """
        try:
            self._in_transaction(lambda connection: self._write_all(connection, reports))
        except errors.DataRefused as error:
            return self._write_halves(reports, error)
        return []

    def _write_halves(self, reports: Sequence[Report], error: errors.DataRefused) -> list[Refused]:
        """Halve until only the culprits are left out: one bad row of 500 costs about 18 writes, not 500.

        Each half is a transaction of its own. A half that was committed when the next one failed is written again
        with the whole batch, which changes nothing.
        """
        if len(reports) == 1:
            return [Refused(reports[0], error)]
        middle = len(reports) // 2
        return [*self.write(reports[:middle]), *self.write(reports[middle:])]

    def probe(self) -> None:
        """Find out whether a write would get as far as the table. Raises as `write` does."""
        self._in_transaction(lambda connection: connection.execute(_TOUCH_NOTHING))

    def attempts(self, digests: Collection[bytes]) -> dict[bytes, int]:
        """How often a consumer had each of these messages in hand and did not finish. Raises as `write` does."""
        found: list[tuple[bytes, int]] = []
        query = sa.select(PoisonSuspect.digest, PoisonSuspect.attempts).where(PoisonSuspect.digest.in_(digests))
        self._in_transaction(lambda connection: found.extend(connection.execute(query).tuples()))
        return dict(found)

    def count_attempt(self, digests: Collection[bytes], now: datetime) -> None:
        """Note that these messages are in hand now, in case this process does not outlive them."""
        rows = [{"digest": digest, "last_attempt_at": now} for digest in sorted(digests)]
        statement = upsert.count_attempt(self._engine.dialect.name)
        self._in_transaction(lambda connection: connection.execute(statement, rows))

    def forget_attempts(self, digests: Collection[bytes]) -> None:
        """Note that these messages are dealt with."""
        statement = sa.delete(PoisonSuspect).where(PoisonSuspect.digest.in_(digests))
        self._in_transaction(lambda connection: connection.execute(statement))

    def close(self) -> None:
        """Close the connection. The store may be used again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _in_transaction(self, work: Callable[[sa.Connection], object]) -> None:
        try:
            connection = self._connection()
            with connection.begin():
                work(connection)
        except Exception as error:
            translated = translate(error)
            if not isinstance(translated, errors.DataRefused):
                self._drop_connection()
            raise translated from error

    def _connection(self) -> sa.Connection:
        if self._open is None:
            self._open = self._engine.connect()
            with self._open.begin():
                self._tables.prepare(self._open)
        return self._open

    def _drop_connection(self) -> None:
        # After a lost connection or a failed commit its state is anybody's guess; a new one costs milliseconds.
        connection, self._open = self._open, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _write_all(self, connection: sa.Connection, reports: Sequence[Report]) -> None:
        reports = self._with_first_receipt(connection, reports)
        self._tables.write(connection, reports, fold(reports))

    def _with_first_receipt(self, connection: sa.Connection, reports: Sequence[Report]) -> Sequence[Report]:
        """Give reports that have a message id but no time the time of their first receipt.

        Their redelivery then has the same key as the first delivery, as if the device had dated it.
        """
        named = {(r.raspberry_id, r.receipt): r for r in reversed(reports) if r.receipt is not None}
        if not named:
            return reports
        self._tables.insert_receipts(connection, [(*key, named[key].received_at) for key in sorted(named)])
        table = MessageReceipt
        query = sa.select(table.raspberry_id, table.digest, table.received_at).where(
            table.raspberry_id.in_({device for device, _ in named}), table.digest.in_({digest for _, digest in named})
        )
        first = {(device, digest): received_at for device, digest, received_at in connection.execute(query)}
        return [r if r.receipt is None else _received_first(r, first[r.raspberry_id, r.receipt]) for r in reports]


_TOUCH_NOTHING = sa.update(upsert.STATUS).values(id=upsert.STATUS.c.id).where(sa.false())


def _received_first(report: Report, received_at: datetime) -> Report:
    return report._replace(reported_at=received_at, heard_at=min(report.heard_at, received_at))


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


class _Tables(Protocol):
    """How one family of databases is written."""

    def prepare(self, connection: sa.Connection) -> None: ...

    def write(self, connection: sa.Connection, reports: Iterable[Report], rounds: list[list[Folded]]) -> None: ...

    def insert_receipts(self, connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None: ...


class _RowTables:
    """SQLite, MySQL and MariaDB: `executemany` with SQL compiled beforehand and rows in the driver's own types."""

    def __init__(self, dialect_name: str) -> None:
        self._sql = upsert.row_statements(dialect_name)

    def prepare(self, connection: sa.Connection) -> None:
        pass

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


class _StagedTables:
    """PostgreSQL: COPY into a temporary table, then one INSERT … SELECT … ON CONFLICT for each table."""

    def __init__(self) -> None:
        self._sql = upsert.staged_statements()

    def prepare(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql(self._sql.create_stage)

    def write(self, connection: sa.Connection, reports: Iterable[Report], rounds: list[list[Folded]]) -> None:
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
