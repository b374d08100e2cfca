"""Takes out of the database what is no longer wanted: old reports, or all of a device.

Every transaction is a small one, of one device: consumers write beside it and do not notice. Used by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from rpi_health.store import hourly
from rpi_health.store.hourly import HOURLY
from rpi_health.store.transaction import in_transaction
from rpi_health.store.upsert import HISTORY, RECEIPTS, STATUS

#: Most rows that one transaction deletes: some hundredths of a second.
CHUNK_ROWS = 2_000
_IDS = 1_000

_Condition = sa.ColumnElement[bool]
_REPORTED, _RECEIVED, _HOUR = HISTORY.c.reported_at, RECEIPTS.c.received_at, HOURLY.c.hour_start


class Page(NamedTuple):
    """A part of all devices.

    Args:
        last: the last id of the page, after which the next one begins; None: there is none.
        due: the ids, in order, of those of which something is too old.
    """

    last: str | None
    due: list[str]


class Retention:
    """Deletes, a chunk at a time.

    Args:
        engine: as `database.create_engine(url, writer=True)` makes it. The schema must be current.
        now: aware. Hourly figures are kept for 400 days up to then.
    """

    def __init__(self, engine: sa.Engine, now: datetime) -> None:
        self._engine = engine
        self._hours_from = now - hourly.KEPT

    def page(self, before: datetime, after: str = "") -> Page:
        """Look through some devices, those that come after an id, for reports that are older than `before`.

        Raises:
            DatabaseError: the database cannot be read.
        """
        ids = STATUS.c.raspberry_id
        old = [(_REPORTED, before), (_RECEIVED, before), (_HOUR, self._hours_from)]
        is_due = sa.or_(*(sa.exists().where(*_older(column, ids, than)) for column, than in old))
        query = sa.select(ids, is_due).where(ids > after).order_by(ids).limit(_IDS)
        found = in_transaction(self._engine, lambda connection: connection.execute(query).all())
        return Page(found[-1][0] if found else None, [device for device, due in found if due])

    def due(self, before: datetime) -> Iterator[str]:
        """The ids of all devices of which something is too old, in order. Raises as `page` does."""
        page = self.page(before)
        while page.last is not None:
            yield from page.due
            page = self.page(before, page.last)

    def count_reports(self, device: str, before: datetime) -> int:
        """How many reports of a device are older. Raises as `page` does."""
        query = sa.select(sa.func.count()).select_from(HISTORY).where(*_older(_REPORTED, device, before))
        return in_transaction(self._engine, lambda connection: connection.scalar(query)) or 0

    def prune(self, device: str, before: datetime) -> Iterator[int]:
        """Delete the reports of a device that are older, and what was noted of such messages.

        The figures of their hours are kept, for as long as such figures are.

        Yields: after each transaction, how many reports it deleted.

        Raises:
            DatabaseError: what was not deleted yet is still there.
        """
        yield from self._chunks(lambda connection: _roll_up_oldest(connection, device, before))
        for column, than in ((_RECEIVED, before), (_HOUR, self._hours_from)):
            self._delete(column.table, _older(column, device, than))

    def forget(self, device: str) -> Iterator[int]:
        """Delete all that is known of a device; should it report again, it is a new one.

        Yields and raises as `prune` does. The device itself goes last: until then it can be tried again.
        """
        yield from self._chunks(lambda connection: _delete_oldest(connection, device))
        self._delete(RECEIPTS, [_is_of(device, RECEIPTS)])
        yield in_transaction(self._engine, lambda connection: _delete_device(connection, device))

    def _chunks(self, delete: Callable[[sa.Connection], int]) -> Iterator[int]:
        deleted = CHUNK_ROWS
        while deleted >= CHUNK_ROWS:
            deleted = in_transaction(self._engine, delete)
            yield deleted

    def _delete(self, table: Any, conditions: Sequence[_Condition]) -> None:
        in_transaction(self._engine, lambda connection: connection.execute(sa.delete(table).where(*conditions)))


def _is_of(device: Any, table: Any) -> _Condition:
    is_of: _Condition = table.c.raspberry_id == device
    return is_of


def _older(column: sa.Column[datetime], device: Any, before: datetime) -> list[_Condition]:
    return [_is_of(device, column.table), column < before]


def _roll_up_oldest(connection: sa.Connection, device: str, before: datetime) -> int:
    """Make the oldest reports of a device, about `CHUNK_ROWS` of them, figures of their hours. Returns how many."""
    if not _is_locked(connection, device):
        return 0
    reports = _oldest(connection, _older(_REPORTED, device, before))
    hourly.add(connection, device, reports)
    return _delete(connection, reports)


def _delete_device(connection: sa.Connection, device: str) -> int:
    """Delete what is left of a device, and the device. Returns how many reports that were."""
    _is_locked(connection, device)
    reports = _delete(connection, [_is_of(device, HISTORY)])
    for table in (HOURLY, STATUS):
        connection.execute(sa.delete(table).where(_is_of(device, table)))
    return reports


def _is_locked(connection: sa.Connection, device: str) -> bool:
    """Keep others out until the transaction ends: whoever writes a report of the device has its row first.

    Returns: whether there is such a device.
    """
    row = sa.select(STATUS.c.id).where(_is_of(device, STATUS)).with_for_update()
    return connection.scalar(row) is not None


def _delete_oldest(connection: sa.Connection, device: str) -> int:
    """Delete the oldest reports of a device, about `CHUNK_ROWS` of them. Returns how many."""
    _is_locked(connection, device)
    return _delete(connection, _oldest(connection, [_is_of(device, HISTORY)]))


def _delete(connection: sa.Connection, reports: Sequence[_Condition]) -> int:
    return int(connection.execute(sa.delete(HISTORY).where(*reports)).rowcount)


def _oldest(connection: sa.Connection, reports: Sequence[_Condition]) -> Sequence[_Condition]:
    """Of these reports of a device the oldest, by their time: the key also has a digest, and one time goes together."""
    nth = sa.select(_REPORTED).where(*reports).order_by(_REPORTED).limit(1).offset(CHUNK_ROWS - 1)
    last = connection.scalar(nth)
    return reports if last is None else [*reports, HISTORY.c.reported_at <= last]
