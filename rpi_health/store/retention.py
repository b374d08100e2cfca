"""Takes out of the database what is no longer wanted: old reports, or all of a device.

Every transaction is a small one, of one device: consumers write beside it and do not notice. Used by one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from rpi_health import errors
from rpi_health.database_errors import translated
from rpi_health.store.upsert import HISTORY, RECEIPTS, STATUS

#: Most rows that one transaction deletes: some hundredths of a second.
CHUNK_ROWS = 5_000
_IDS = 1_000
_TRIES = 3
_T = TypeVar("_T")


class Retention:
    """Deletes, a chunk at a time.

    Args:
        engine: as `database.create_engine(url, writer=True)` makes it. The schema must be current.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def devices(self) -> Iterator[str]:
        """The ids of all devices, in order.

        Raises:
            DatabaseError: the database cannot be read.
        """
        ids, last = STATUS.c.raspberry_id, ""
        while True:
            query = sa.select(ids).where(ids > last).order_by(ids).limit(_IDS)
            found = self._do(lambda connection: list(connection.scalars(query)))  # noqa: B023 - called at once
            yield from found
            if len(found) < _IDS:
                return
            last = found[-1]

    def count_reports(self, device: str, before: datetime) -> int:
        """How many reports of a device are older. Raises as `devices` does."""
        query = sa.select(sa.func.count()).select_from(HISTORY).where(*_older(HISTORY.c.reported_at, device, before))
        return self._do(lambda connection: connection.scalar(query)) or 0

    def prune(self, device: str, before: datetime) -> Iterator[int]:
        """Delete the reports of a device that are older, and what was noted of such messages.

        Yields: after each transaction, how many reports it deleted.

        Raises:
            DatabaseError: what was not deleted yet is still there.
        """
        yield from self._delete_reports(device, before)
        self._delete(RECEIPTS, _older(RECEIPTS.c.received_at, device, before))

    def forget(self, device: str) -> Iterator[int]:
        """Delete all that is known of a device; should it report again, it is a new one.

        Yields and raises as `prune` does. The device itself goes last: until then it can be tried again.
        """
        yield from self._delete_reports(device, None)
        self._delete(RECEIPTS, [RECEIPTS.c.raspberry_id == device])
        self._delete(STATUS, [STATUS.c.raspberry_id == device])

    def _delete_reports(self, device: str, before: datetime | None) -> Iterator[int]:
        deleted = CHUNK_ROWS
        while deleted >= CHUNK_ROWS:
            deleted = self._do(lambda connection: _delete_oldest(connection, device, before))
            yield deleted

    def _delete(self, table: sa.Table, conditions: Sequence[Any]) -> None:
        self._do(lambda connection: connection.execute(sa.delete(table).where(*conditions)))

    def _do(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Do it in a transaction; again where that had to give way, as to a consumer's in a deadlock."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(errors.DatabaseUnavailable):
                return self._do_once(work)
        return self._do_once(work)

    def _do_once(self, work: Callable[[sa.Connection], _T]) -> _T:
        with translated(self._engine.url), self._engine.begin() as connection:
            return work(connection)


def _older(column: sa.Column[datetime], device: str, before: datetime | None) -> list[sa.ColumnElement[bool]]:
    of_device = column.table.c.raspberry_id == device
    return [of_device] if before is None else [of_device, column < before]


def _delete_oldest(connection: sa.Connection, device: str, before: datetime | None) -> int:
    """Delete the oldest reports of a device, about `CHUNK_ROWS` of them. Returns how many."""
    at = HISTORY.c.reported_at
    older = _older(at, device, before)
    # By their time: the key also has a digest, and those of one time go together.
    last = connection.scalar(sa.select(at).where(*older).order_by(at).limit(1).offset(CHUNK_ROWS - 1))
    chunk = older if last is None else [*older, at <= last]
    return int(connection.execute(sa.delete(HISTORY).where(*chunk)).rowcount)
