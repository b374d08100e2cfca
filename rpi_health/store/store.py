"""All of the SQL writing: a batch of reports becomes rows, in one transaction.

Knows nothing of messages, acks or retries: it writes, and says what the database made of it. Used by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from rpi_health import errors
from rpi_health.database_errors import translate, translated
from rpi_health.models import DeviceHistory, DeviceHistoryHourly, DeviceStatus, MessageReceipt, PoisonNote
from rpi_health.presence import Beat, Identity
from rpi_health.report import Report
from rpi_health.store import presence, upsert
from rpi_health.store.fold import fold
from rpi_health.store.multirow import MultiRowTables
from rpi_health.store.staged import StagedTables

_PRUNED: tuple[Any, ...] = (DeviceHistory, DeviceHistoryHourly, MessageReceipt)


class Refused(NamedTuple):
    """A report that the database alone refuses for good."""

    report: Report
    error: errors.DataRefused


class Store:
    """Writes reports through one connection that it keeps open.

    Args:
        engine: as `database.create_engine(url, writer=True)` makes it. The schema must be current.
        identity: who is to be seen in `consumer_status`; None: nobody.
    """

    def __init__(self, engine: sa.Engine, identity: Identity | None = None) -> None:
        self._engine = engine
        self._identity = identity
        self._tables = _tables_for(engine.dialect.name)
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

    def count_stale(self, reports: Sequence[Report]) -> int:
        """How many of the reports are older than what is stored of their device, or comes before them here.

        For statistics: what others store between this and `write` is not seen. Raises as `write`.
        """
        table, stale = DeviceStatus, 0
        newest: dict[str, datetime] = {}
        devices = {report.raspberry_id for report in reports}
        query = sa.select(table.raspberry_id, table.reported_at).where(table.raspberry_id.in_(devices))
        self._in_transaction(lambda connection: newest.update((d, at) for d, at in connection.execute(query) if at))
        for report in reports:
            is_stale = report.reported_at < newest.get(report.raspberry_id, report.reported_at)
            stale += is_stale
            if not is_stale:
                newest[report.raspberry_id] = report.reported_at
        return stale

    def _write_halves(self, reports: Sequence[Report], error: errors.DataRefused) -> list[Refused]:
        """Halve until only the culprits are left out: one bad row of 500 costs about 18 writes, not 500.

        Each half is a transaction of its own. A half that was committed when the next one failed is written again
        with the whole batch, which changes nothing.
        """
        if len(reports) == 1:
            return [Refused(reports[0], error)]
        middle = len(reports) // 2
        return [*self.write(reports[:middle]), *self.write(reports[middle:])]

    def notes_of_others(self, digests: Collection[bytes], owner: bytes) -> set[tuple[bytes, bytes, datetime]]:
        """What other processes noted of these messages: digest, owner, when. Raises as `write`."""
        found: set[tuple[bytes, bytes, datetime]] = set()
        query = sa.select(PoisonNote.digest, PoisonNote.owner, PoisonNote.noted_at).where(
            PoisonNote.digest.in_(digests), PoisonNote.owner != owner
        )
        self._in_transaction(lambda connection: found.update((d, o, at) for d, o, at in connection.execute(query)))
        return found

    def note(self, digests: Collection[bytes], owner: bytes, now: datetime) -> None:
        """Note that this process has these messages in hand, in case it does not outlive them. Raises as `write`."""
        rows = [{"digest": digest, "owner": owner, "noted_at": now} for digest in sorted(digests)]
        statement = upsert.insert_note(self._engine.dialect.name)
        self._in_transaction(lambda connection: connection.execute(statement, rows))

    def withdraw_notes(self, digests: Collection[bytes], owner: bytes) -> None:
        """Take back what `note` noted. Raises as `write`."""
        statement = sa.delete(PoisonNote).where(PoisonNote.digest.in_(digests), PoisonNote.owner == owner)
        self._in_transaction(lambda connection: connection.execute(statement))

    def clear_notes(self, digests: Collection[bytes]) -> None:
        """Forget what any process noted of these messages: they are dealt with. Raises as `write`."""
        statement = sa.delete(PoisonNote).where(PoisonNote.digest.in_(digests))
        self._in_transaction(lambda connection: connection.execute(statement))

    def beat(self, beat: Beat) -> None:
        """Have others see that this consumer runs, and how it is. Raises as `write`."""
        identity = self._identity
        if identity is not None:
            self._in_transaction(lambda connection: presence.renew(connection, identity, beat))

    def leave(self) -> None:
        """Have others see that it has stopped. Raises as `write`."""
        identity = self._identity
        if identity is not None:
            self._in_transaction(lambda connection: presence.remove(connection, identity))

    def rehearse(self, report: Report) -> bool:
        """Write a report as `write` does, look whether it is there, delete it, and take it all back.

        Returns: whether it was there.

        Raises:
            DatabaseError: it could not be written.
        """
        key = (upsert.HISTORY.c.raspberry_id == report.raspberry_id, upsert.HISTORY.c.digest == report.digest)
        with translated(self._engine.url):
            connection = self._connection()
            transaction = connection.begin()
            try:
                self._write_all(connection, [report])
                is_there = connection.scalar(sa.select(upsert.HISTORY.c.reported_at).where(*key)) is not None
                for model in _PRUNED:  # which takes a permission of its own
                    table = model.__table__
                    connection.execute(sa.delete(table).where(table.c.raspberry_id == report.raspberry_id))
                return is_there
            finally:
                transaction.rollback()

    def close(self) -> None:
        """Close the connection, and those that the engine keeps. The store may be used again."""
        if self._open is not None:
            self._open.close()
            self._open = None
        self._engine.dispose()

    def _in_transaction(self, work: Callable[[sa.Connection], object]) -> None:
        try:
            connection = self._connection()
            with connection.begin():
                work(connection)
        except Exception as error:
            translated = translate(error, self._engine.url)
            if not isinstance(translated, errors.DataRefused):
                self._drop_connection()
            raise translated from error

    def _connection(self) -> sa.Connection:
        if self._open is None:
            self._open = self._engine.connect()
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


def _tables_for(dialect_name: str) -> StagedTables | MultiRowTables:
    return StagedTables() if dialect_name == "postgresql" else MultiRowTables(dialect_name)


def _received_first(report: Report, received_at: datetime) -> Report:
    return report._replace(reported_at=received_at, heard_at=min(report.heard_at, received_at))
